"""What a host prints around the answer to a command: login scripts, banners, harmless warnings. Pure.

A login shell runs its start files before our command, so a `.bashrc` that prints (or a `~/.ssh/rc`, a message of the
day) comes first on stdout. Commands are therefore framed: the host prints MARK on a line of its own on stdout and on
stderr, and only what follows it counts.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from core.errors import HostError

MARK = "llm-deploy: the answer begins here"

_SCRIPT = r"""printf "\n%s\n" "$0"; printf "\n%s\n" "$0" >&2; exec "$@" """.rstrip()

_MARK_LINE = re.compile(rb"(?:^|\n)" + re.escape(MARK.encode()) + rb"\r?\n")

DETAIL_CHARS = 500

NOISE_BYTES = 4 * 1024**2
"""A login script that prints more than this before our command is taken for one that does not end."""

NOT_A_SHELL = (
    "a proxy for terminals (such as ssh.runpod.io) does not work: use the address and port of the host's own sshd; "
    "a login script (.bashrc) that exits or starts another shell does not work either"
)

HARMLESS = re.compile(
    "|".join(
        (
            r"sudo: unable to resolve host .*",  # /etc/hosts lacks the host's own name
            r"sudo: (setrlimit\(|unable to send audit message).*",
            r"sudo: .*: (unable to (mkdir|open|write)|owned by uid).*(ts|timestamp|lectured|io|log).*",
            r".*warning: setlocale: .*",  # bash, for a locale that the user's own machine handed on
            r"(/usr/bin/)?locale: Cannot set .* to default locale.*",
            r"perl: warning: .*",
            r"\s*(LANGUAGE|LANG|LC_[A-Z]+) = .*",
            r"\s*are supported and installed on your system\.",
            r"Can't set locale.*",
            r"Warning: Permanently added .*",
            r"\*\* .*",  # ssh on key exchange that is not post-quantum
            r"Pseudo-terminal will not be allocated .*",
            r"Connection to .* closed\.",
            r"mesg: .*",
            r"(.*: )?stdin: is not a tty",
            r"(tty|stty|tput|tset|stdin|ttyname)(:| failed).*",
            r"TERM environment variable not set\.?",
            r".*: cannot set terminal process group .*",
            r".*: no job control in this shell",
            r"debconf: (unable to initialize frontend|falling back to frontend|\().*",
            r"dpkg-preconfigure: unable to re-open stdin.*",
            r"WARNING: apt does not have a stable CLI interface.*",
        )
    )
)
"""Whole lines that say nothing about why a command failed."""


def framed(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the command that prints MARK on stdout and stderr, then becomes `argv`."""
    return ("sh", "-c", _SCRIPT, MARK, *argv)


class Frame:
    """Cuts off what comes before the answer."""

    def __init__(self) -> None:
        self.begun = False
        self.noise = bytearray()
        """What came before the mark, or all when it never came."""

    @property
    def is_drowned(self) -> bool:
        """Whether so much came without the mark that no answer is to be expected."""
        return not self.begun and len(self.noise) > NOISE_BYTES

    def take(self, block: bytes) -> bytes:
        """Return what of `block` belongs to the answer."""
        if self.begun:
            return block
        unread = max(0, len(self.noise) - len(MARK) - 3)  # the mark, with its line's ends, may lie across two blocks
        self.noise += block
        found = _MARK_LINE.search(self.noise, unread)
        if found is None:
            return b""
        self.begun = True
        begin, end = found.span()
        answer = bytes(self.noise[end:])
        self.noise = self.noise[:begin]
        return answer


def own_words(stderr: bytes) -> str:
    """Return what the command itself said on stderr, without harmless warnings; all of it when nothing else was said.

    Once a warning of sudo's or of the locale stood where the real error belongs.
    """
    *_, after = _MARK_LINE.split(stderr)
    said = after.decode(errors="replace").replace("\r\n", "\n").strip()
    return without_warnings(said or _MARK_LINE.sub(b"\n", stderr).decode(errors="replace").strip())


def without_warnings(said: str) -> str:
    """Return `said` without lines that are known to be harmless; as it is when there are no others."""
    lines = [line for line in said.splitlines() if line.strip() and not HARMLESS.fullmatch(line.rstrip())]
    return "\n".join(lines) if lines else said


def read_json(said: str, *, where: str, shape: type = dict) -> Any:
    """Return the object (or list, as `shape` says) that a program printed on a line of its own; others are noise.

    Raises HostError when there is none.
    """
    for line in reversed(said.splitlines()):
        try:
            found = json.loads(line) if line.strip().startswith(("{", "[")) else None
        except (ValueError, RecursionError):
            continue
        if isinstance(found, shape):
            return found
    raise HostError("gave an answer that cannot be read", where=where, hint="run it again", detail=said[-DETAIL_CHARS:])
