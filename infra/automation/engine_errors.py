"""How a run of the Pulumi engine can fail. Starts nothing."""

from core.errors import DeployError


class BackendTimeoutError(DeployError):
    """The backend that keeps the state does not answer."""


class EngineFailedError(DeployError):
    """The Pulumi engine ran, and failed."""


class EngineTimeoutError(DeployError):
    """The Pulumi engine was stopped, because it took too long."""


class EngineError(Exception):
    """A run of the Pulumi engine failed before it reported anything. The text is its stderr."""
