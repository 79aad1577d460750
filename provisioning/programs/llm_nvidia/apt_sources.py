"""Which repositories apt takes packages from, by the files that name them: active entries only, as apt reads them.

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
"""What apt reads of sources.list.d: `cuda.list.save`, `x.list.distUpgrade` and hidden files it leaves out."""

OFF = ("no", "false", "without", "off", "disable", "0")
CLOSES = {'"': '"', "[": "]"}
"""What ends the part of a word that may hold spaces."""


def files(apt: Path) -> list[Path]:
    """Return the files that apt reads its sources from; `apt` is the folder /etc/apt."""
    parts = [
        each for each in sorted(apt.glob("sources.list.d/*")) if READ_BY_APT.fullmatch(each.name) and each.is_file()
    ]
    return [apt / "sources.list", *parts]


def uris(paths: Iterable[Path]) -> set[str]:
    """Return the repositories of binary packages that these files name, in a form to compare.

    One without suites, as NVIDIA's, apt takes for every architecture, whatever its entry says.
    """
    found: set[str] = set()
    for path in paths:
        read = _of_stanzas if path.suffix == ".sources" else _of_lines
        found.update(comparable(uri) for uri in read(text(path)))
    return found


def comparable(uri: str) -> str:
    """Return host and path of a repository: http and https, with and without a slash at the end, are the same one."""
    return re.sub(r"^https?://", "", uri).rstrip("/").lower()


def is_about(line: str, uri: str) -> bool:
    """Return whether a line of apt's is about the repository `uri` itself, and not about one below or beside it."""
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
            continue  # apt refuses the line, and with it all that it reads
        if kind == "deb":
            yield uri


def _without_comment(line: str) -> str:
    """Return the line up to its first `#` outside brackets; apt cuts there inside quotes, too."""
    at = 0
    while at < len(line) and line[at] != "#":
        end = line.find("]", at + 1) if line[at] == "[" else at
        at = max(end, at) + 1
    return line[:at]


def _word(text: str) -> tuple[str, str]:
    """Return the first word, unquoted, and the text after it. Raises ValueError when there is none."""
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
    """Return what follows `[ option=value … ]`; a value may have brackets itself. Raises ValueError without an end."""
    if not text.startswith("["):
        return text
    text = text[1:].lstrip()
    while not text.startswith("]"):
        option, rest = _word(text)
        if option.endswith("]") and not rest.startswith("]"):
            return rest  # `[a=b]`: the end needs no space before it
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
    """Return the fields of a deb822 stanza by their names in lower case; lines that go on are joined."""
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
