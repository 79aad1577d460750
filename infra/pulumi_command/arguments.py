"""Reads the command, the stack and the folder from a command line of `pulumi`. Pure: parses words only.

The Pulumi CLI checks its arguments itself, so this module treats an unknown option as one without a value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Work = Literal["preview", "up", "refresh", "destroy"]

WORK: dict[str, Work] = {
    "preview": "preview",
    "pre": "preview",
    "up": "up",
    "update": "up",
    "refresh": "refresh",
    "destroy": "destroy",
    "down": "destroy",
    "dn": "destroy",
}
"""The commands that work on a stack's resources, with their aliases."""

SHORT = {"C": "--cwd", "s": "--stack", "c": "--config", "m": "--message", "p": "--parallel", "t": "--target"}
SHORT |= {"v": "--verbose", "x": "--exclude", "r": "--refresh", "j": "--json", "h": "--help"}

_NAMES = """
cwd color memprofilerate otel-traces profiling tracing verbose stack config config-file message parallel target
target-replace replace exclude policy-pack policy-pack-config secrets-provider override-env import-file
import-pending-creates save-plan plan output event-log exec-kind exec-agent client
"""
VALUED = frozenset(f"--{name}" for name in _NAMES.split())
"""The options of these commands that take the next word as their value (`pulumi up --help`, version 3.258)."""

OWN_CONFIG = ("--config-file", "--config")
"""Options that say which config file to read, or save a value in the stack's file."""


@dataclass(frozen=True)
class Invocation:
    """A parsed command line."""

    command: tuple[str, ...]
    """The words that are not options: the command and its operands."""

    options: dict[str, str]
    """The value of each option by its long name; empty for an option without a value."""

    plain: bool
    """Whether all words were parsed: false after a `--`."""

    @property
    def work(self) -> Work | None:
        """The command, if it works on a stack's resources and runs this project's program; else None."""
        known = len(self.command) == 1 and self.plain and "--help" not in self.options
        return WORK.get(self.command[0]) if known else None

    @property
    def folder(self) -> str:
        """The folder in which the CLI runs; empty: the current folder."""
        return self.options.get("--cwd", "")

    @property
    def stack(self) -> str:
        """The stack as typed, perhaps with its organization; empty: the selected stack."""
        return self.options.get("--stack", "")

    @property
    def has_own_config(self) -> bool:
        """Whether an option names another config file, or changes a value of the config."""
        return any(name in self.options for name in OWN_CONFIG)


def read_arguments(words: Sequence[str]) -> Invocation:
    """Return the parsed words after `pulumi`."""
    command, options, left = list[str](), dict[str, str](), list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            return Invocation(tuple(command), options, plain=False)
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            options[name] = left.pop(0) if not equals and name in VALUED and left else value
        elif word.startswith("-") and word != "-":
            _read_short(word[1:], options, left)
        else:
            command.append(word)
    return Invocation(tuple(command), options, plain=True)


def _read_short(letters: str, options: dict[str, str], left: list[str]) -> None:
    """Read options of one letter, such as `-yfs NAME`, `-sNAME` or `-s=NAME`, into `options`."""
    for place, letter in enumerate(letters):
        name, rest = SHORT.get(letter, f"-{letter}"), letters[place + 1 :]
        if name in VALUED:
            options[name] = rest.removeprefix("=") if rest else left.pop(0) if left else ""
            return
        if rest.startswith("="):
            options[name] = rest[1:]
            return
        options[name] = ""
