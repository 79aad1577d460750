"""Errors of a cloud that need different reactions: not found, and denied."""

from collections.abc import Callable
from typing import TypeVar

from core.console import say
from core.errors import DeployError

Answer = TypeVar("Answer")


class MissingError(DeployError):
    """The resource does not exist."""


class DeniedError(DeployError):
    """The login lacks the permission, or the API is not enabled in the project."""


def unless_denied(ask: Callable[[], Answer], otherwise: Answer | None, going_on: str) -> Answer:
    """Return what `ask` returns; if that is denied, `otherwise`, after a warning that ends in `going_on`.

    Raises DeniedError if `otherwise` is None.
    """
    try:
        return ask()
    except DeniedError as error:
        if otherwise is None:
            raise
        say(f"  ! {error}; continuing with {going_on}")
        return otherwise
