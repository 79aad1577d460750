"""What a cloud that is asked may answer instead, told apart where that decides what happens next."""

from core.errors import DeployError


class MissingError(DeployError):
    """What was asked for is not there."""


class DeniedError(DeployError):
    """The login may not ask that, or the project has the API not enabled."""
