"""Which repositories apt takes packages from, by the files that name them: active entries only, as apt reads them.

Sources: sources.list(5) for the two formats and the names of files, apt's StringToBool for the words of `Enabled`.
"""

from __future__ import annotations

import re

from .host import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

READ_BY_APT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*\.(list|sources)")
"""What apt reads of sources.list.d: `cuda.list.save`, `x.list.distUpgrade` and hidden files it leaves out."""

OFF = ("no", "false", "without", "off", "disable", "0")
ONE_LINE = re.compile(r"deb\s+(?:\[[^\]]*\]\s*)?(?P<uri>[^\s\[]\S*)")


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
        found = ONE_LINE.match(line.partition("#")[0].strip())
        if found:
            yield found["uri"]


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
