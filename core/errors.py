"""The one family of errors that a user can cause or mend, and the one place that turns them into words.

    DeployError            a run that failed                                  exit 1
    ├── ConfigError        a value in a file is wrong                         exit 2
    ├── UsageError         the command line or the environment is wrong       exit 2
    ├── HostError          a host could not be reached, trusted or changed    exit 1
    └── CheckError         it runs, but a check of it failed                  exit 1

Anything else keeps its traceback, because that is our bug.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core.console import say
from core.interrupts import interruptible, words_of


class DeployError(Exception):
    """Something that the person at the keyboard can mend.

    Printed as one line: `where: what; hint`. `where` names a file and key, a host or a command; `hint` says what
    to write or do instead. `detail` may add lines below it (the first real error of a journal, say).
    """

    exit_code = 1

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
    """The command line or the machine it runs on lacks something; nothing was created."""

    exit_code = 2


class HostError(DeployError):
    """A host could not be reached, trusted or changed."""


class CheckError(DeployError):
    """The deployment answers, but not as it should."""


def run_cli(command: Callable[[], int]) -> int:
    """Return the exit status of `command`, with errors told in words on stderr: 130 after Ctrl-C, 143 after SIGTERM."""
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
    """Have Ctrl-C within name what else a person may do than run the same command again."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise type(interrupt)(other) from None
