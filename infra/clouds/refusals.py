"""What a cloud that is asked may answer instead, told apart where that decides what happens next."""

from collections.abc import Callable
from typing import TypeVar

from core.console import say
from core.errors import DeployError

Answer = TypeVar("Answer")


class MissingError(DeployError):
    """What was asked for is not there."""


class DeniedError(DeployError):
    """The login may not ask that, or the project has the API not enabled."""


def unless_denied(ask: Callable[[], Answer], otherwise: Answer | None, going_on: str) -> Answer:
    """Return what `ask` returns; `otherwise` when the login may not ask, after a warning that ends in `going_on`.

    Raises DeniedError when there is no other answer.
    """
    try:
        return ask()
    except DeniedError as error:
        if otherwise is None:
            raise
        say(f"  ! {error}; going on with {going_on}")
        return otherwise
