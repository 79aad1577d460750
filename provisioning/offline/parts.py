"""What a bundle holds: a file with its place, its hash, and what it is a part of. Values only."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["debian", "wheel", "model", "download", "program"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file of the archive."""

    place: str
    """Path in the archive."""
    source: Path
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Component:
    """One thing that somebody made and versioned, as the bill of materials lists it."""

    kind: Kind
    name: str
    version: str
    parts: tuple[Part, ...]
    purl: str = ""
    """Package URL; none for what no registry knows."""
    licence: str = ""
    """Of a base model, as the config names it."""
