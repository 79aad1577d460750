"""Finds refused phrases in the texts of files, each with its line and what to write instead."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from core.paths import CHECKOUT
from tools.prose.rules import refused
from tools.prose.texts import prose

CHECKED = CHECKOUT / "tools" / "prose" / "checked.txt"
"""The files and folders that `make check` reads, one a line."""

EXEMPT = {
    "infra/clouds/program/boot/data-volume.sh": "user data of existing hosts; any edit changes it",
    "tests/machine/greedy_answers.py": "answers of the tiny model",
    "tests/machine/served.py": "prompts about contracts, in the tiny model's words",
    "tests/machine/test_adapters.py": "prompts about contracts, in the tiny model's words",
    "tests/unit/tools/prose/test_rules.py": "the refused phrases",
    "tools/prose/rules.py": "the refused phrases",
    "tools/tiny_model/tokenizer.py": "sentences of contracts, which the tiny model learns",
}
"""Files that are not read, and what is in them."""


@dataclass(frozen=True, order=True)
class Finding:
    """One refused phrase."""

    name: str
    line: int
    found: str
    instead: str

    def __str__(self) -> str:
        return f"{self.name}:{self.line}: refused phrase {self.found!r}; write: {self.instead}"


def findings(name: str, source: str) -> list[Finding]:
    """Return the refused phrases of the file `name`, in order of their lines."""
    if name in EXEMPT:
        return []
    text = prose(name, source)
    found = [
        Finding(name, source.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), rule.instead)
        for match, rule in refused(text)
    ]
    return sorted(found)


def listed(lines: Iterable[str]) -> Iterator[str]:
    """Yield the paths of a list; lines that start with # are comments."""
    for line in lines:
        if line.strip() and not line.startswith("#"):
            yield line.strip()
