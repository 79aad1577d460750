"""Errors that a user can cause or fix, and the one function that prints them.

    DeployError            a run failed                                       exit 1
    ├── ConfigError        a value in a file is wrong                         exit 2
    ├── UsageError         the command line or the environment is wrong       exit 2
    ├── HostError          a host could not be reached, trusted or changed    exit 1
    └── CheckError         the deployment runs, but a check failed            exit 1

Any other exception is a bug in this project and keeps its traceback.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core.console import say
from core.interrupts import interruptible, words_of


class DeployError(Exception):
    """An error that the user can fix.

    Printed as one line: `where: what; hint`. `where` is a file and key, a host or a command. `hint` says what to write
    or do instead. `detail` may add lines below, for example the first error in a journal.
    """

    exit_code = 1

    resources: tuple[str, ...] = ()
    """Names of the resources of a stack that failed, as far as they are known."""

    def __init__(self, what: str, *, where: str = "", hint: str = "", detail: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        self.detail = detail

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line}; {self.hint}" if self.hint else line


class ConfigError(DeployError):
    """A value in a stack file, an inventory or another file is wrong; nothing was created."""

    exit_code = 2


class UsageError(DeployError):
    """The command line is wrong, or this machine lacks something; nothing was created."""

    exit_code = 2


class HostError(DeployError):
    """A host could not be reached, trusted or changed."""


class CheckError(DeployError):
    """The deployment answers, but a check failed."""


def run_cli(command: Callable[[], int]) -> int:
    """Run `command`, print its error on stderr, and return the exit status: 130 after Ctrl-C, 143 after SIGTERM."""
    try:
        with interruptible():
            return command()
    except DeployError as error:
        say(f"error: {error}")
        if error.detail:
            say(error.detail)
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        others = "".join(f", or {word}" for word in interrupt.args)
        words, status = words_of(interrupt)
        say(f"error: {words}{others}")
        return status


@contextmanager
def when_interrupted(other: str) -> Iterator[None]:
    """Add `other`, a second way to continue, to the message that Ctrl-C prints in this block."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise type(interrupt)(other) from None
