"""The repositories that apt takes packages from, read from its files: active entries only, as apt reads them.

Sources: sources.list(5) for the two formats and the names of files; apt's StringToBool for the words of `Enabled`, its
ParseQuoteWord and pkgSourceList::Type::ParseLine for quotes and options in one line.
"""

from __future__ import annotations

import re

from .host import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

READ_BY_APT = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9_.:-]*\.(list|sources)")
"""File names that apt reads in sources.list.d: not `cuda.list.save`, `x.list.distUpgrade` or hidden files."""

OFF = ("no", "false", "without", "off", "disable", "0")
CLOSES = {'"': '"', "[": "]"}
"""Closing characters of the parts of a word that may contain spaces."""


def files(apt: Path) -> list[Path]:
    """Return the files that apt reads its sources from; `apt` is the folder /etc/apt."""
    parts = [
        each for each in sorted(apt.glob("sources.list.d/*")) if READ_BY_APT.fullmatch(each.name) and each.is_file()
    ]
    return [apt / "sources.list", *parts]


def uris(paths: Iterable[Path]) -> set[str]:
    """Return the repositories of binary packages that these files name, normalized for comparison.

    apt uses a repository without suites, such as NVIDIA's, for every architecture, whatever its entry says.
    """
    found: set[str] = set()
    for path in paths:
        read = _of_stanzas if path.suffix == ".sources" else _of_lines
        found.update(comparable(uri) for uri in read(text(path)))
    return found


def comparable(uri: str) -> str:
    """Return host and path of a repository: http or https and a final slash make no difference."""
    return re.sub(r"^https?://", "", uri).rstrip("/").lower()


def is_about(line: str, uri: str) -> bool:
    """Return whether a line of apt's output is about the repository `uri` itself, not about one below or beside it."""
    named = re.findall(r"\w+:/[^\s']+", line)
    return any(
        comparable(re.sub(r"(InRelease|Release(\.gpg)?|Packages(\.\w+)?)$", "", each)) == comparable(uri)
        for each in named
    )


def _of_lines(content: str) -> Iterator[str]:
    for line in content.splitlines():
        try:
            kind, rest = _word(_without_comment(line))
            uri, _ = _word(_after_options(rest))
        except ValueError:
            continue  # apt refuses the line, and then all its sources
        if kind == "deb":
            yield uri


def _without_comment(line: str) -> str:
    """Return the line up to its first `#` outside brackets; apt cuts there even inside quotes."""
    at = 0
    while at < len(line) and line[at] != "#":
        end = line.find("]", at + 1) if line[at] == "[" else at
        at = max(end, at) + 1
    return line[:at]


def _word(text: str) -> tuple[str, str]:
    """Return the first word, unquoted, and the text after it. Raises ValueError if there is no word."""
    text = text.lstrip()
    end = 0
    while end < len(text) and not text[end].isspace():
        if text[end] in CLOSES:
            end = text.index(CLOSES[text[end]], end + 1)
        end += 1
    if not end:
        raise ValueError(text)
    plain = re.sub(r"%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), text[:end])
    return plain.replace('"', ""), text[end:].lstrip()


def _after_options(text: str) -> str:
    """Return the text after `[ option=value … ]`; a value may have brackets. Raises ValueError if it is not closed."""
    if not text.startswith("["):
        return text
    text = text[1:].lstrip()
    while not text.startswith("]"):
        option, rest = _word(text)
        if option.endswith("]") and not rest.startswith("]"):
            return rest  # `[a=b]`: no space is needed before the bracket
        text = rest
    return text[1:].lstrip()


def _of_stanzas(content: str) -> Iterator[str]:
    lines = [line for line in content.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n[ \t]*\n", "\n".join(lines)):
        fields = _fields(stanza)
        is_on = fields.get("enabled", "yes").strip().lower() not in OFF
        if is_on and "deb" in fields.get("types", "").split():
            yield from fields.get("uris", "").split()


def _fields(stanza: str) -> dict[str, str]:
    """Return the fields of a deb822 stanza by lower-case name; continuation lines are joined."""
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line[:1] in (" ", "\t"):
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields
