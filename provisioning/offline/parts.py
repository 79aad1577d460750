"""The files of a bundle, and the components that they belong to. Values only."""

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
    """One versioned component, as the bill of materials lists it."""

    kind: Kind
    name: str
    version: str
    parts: tuple[Part, ...]
    purl: str = ""
    """Package URL; empty if no registry has it."""
    licence: str = ""
    """Of a base model, as the config names it."""
