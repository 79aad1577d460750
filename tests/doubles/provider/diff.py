"""What changes between old and new inputs, path by path, and whether that needs a new resource. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.doubles.provider.values import Properties

_INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True)
class Change:
    """One input that differs."""

    path: str
    how: str
    """add, delete or update."""

    replaces: bool


def changes(old: Properties, new: Properties, immutable: frozenset[str]) -> list[Change]:
    """Return how `new` differs from `old`; a path that starts with one of `immutable` needs a replacement."""
    return [
        Change(path, how, any(_below(_INDEX.sub("", path), each) for each in immutable))
        for path, how in _walk(_visible(old), _visible(new), "")
    ]


def _walk(old: Any, new: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            below = f"{path}.{key}" if path else key
            if key not in new:
                yield below, "delete"
            elif key not in old:
                yield below, "add"
            else:
                yield from _walk(old[key], new[key], below)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _walk(before, after, f"{path}[{index}]")
    elif old != new:
        yield path, "update"


def _visible(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the marks of the engine, such as `__defaults`."""
    return {key: value for key, value in inputs.items() if not key.startswith("__")}


def _below(path: str, above: str) -> bool:
    return path == above or path.startswith(f"{above}.")
