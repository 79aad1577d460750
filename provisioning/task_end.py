"""How a task of fab ends: with its own exit status, errors told in words."""

from collections.abc import Callable

from invoke.exceptions import Exit

from core.errors import run_cli


def end(run: Callable[[], int]) -> None:
    """Run a task; end fab with its exit status."""
    status = run_cli(run)
    if status:
        raise Exit(code=status)
