"""Separates a command's output from the output of login scripts, banners and harmless warnings. Pure.

A login shell runs its start files before our command, so the output of a `.bashrc` (or `~/.ssh/rc`, or the message of
the day) comes first on stdout. Commands are therefore framed: the host prints MARK as a line on stdout and on stderr,
and only the output after it counts.
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
"""A login script that prints more than this before our command is assumed never to end."""

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
            r".*warning: setlocale: .*",  # bash, for a locale that the user's ssh client sent
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
"""Whole lines that do not explain why a command failed."""


def framed(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the command that prints MARK on stdout and stderr, then becomes `argv`."""
    return ("sh", "-c", _SCRIPT, MARK, *argv)


class Frame:
    """Cuts off the output before the mark."""

    def __init__(self) -> None:
        self.begun = False
        self.noise = bytearray()
        """The output before the mark, or all of it if the mark never came."""

    @property
    def is_drowned(self) -> bool:
        """Whether there is so much output without the mark that the mark will not come."""
        return not self.begun and len(self.noise) > NOISE_BYTES

    def take(self, block: bytes) -> bytes:
        """Return the part of `block` that belongs to the answer."""
        if self.begun:
            return block
        unread = max(0, len(self.noise) - len(MARK) - 3)  # the mark and its line ends may span two blocks
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
    """Return the command's own stderr without harmless warnings; all of stderr if nothing else remains.

    Once a warning of sudo or about the locale was shown in place of the real error.
    """
    *_, after = _MARK_LINE.split(stderr)
    text = after.decode(errors="replace").replace("\r\n", "\n").strip()
    return without_warnings(text or _MARK_LINE.sub(b"\n", stderr).decode(errors="replace").strip())


def without_warnings(text: str) -> str:
    """Return `text` without known harmless lines; unchanged if it has no others."""
    lines = [line for line in text.splitlines() if line.strip() and not HARMLESS.fullmatch(line.rstrip())]
    return "\n".join(lines) if lines else text


def read_json(text: str, *, where: str, shape: type = dict) -> Any:
    """Return the JSON object (or list, as `shape` says) that a program printed as one line; other lines are ignored.

    Raises HostError if there is none.
    """
    for line in reversed(text.splitlines()):
        try:
            found = json.loads(line) if line.strip().startswith(("{", "[")) else None
        except (ValueError, RecursionError):
            continue
        if isinstance(found, shape):
            return found
    raise HostError("gave an answer that cannot be read", where=where, hint="run it again", detail=text[-DETAIL_CHARS:])
