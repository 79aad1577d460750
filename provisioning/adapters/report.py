"""The adapters of a host, as provisioning/programs/adapters/adapter_versions.py prints it. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Served:
    """Versions by name with their folders, and aliases with the versions that they mean."""

    versions: Mapping[str, str]
    aliases: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Running(Served):
    """The adapters that an engine serves now."""

    engine: str = ""
    """Identifies the start of the engine."""
    refused: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Versions that it skipped at its start: `folder`, and `problem` in the engine's words."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """The folder of a model or an adapter."""

    path: str
    bytes: int
    in_use: bool
    """The host serves from it, or may roll back to it."""


@dataclass(frozen=True, kw_only=True)
class AdapterReport:
    """One host's adapters."""

    served: Served
    """The adapters that the engine serves after its next start."""
    running: Running | None
    """None if no engine answers, or it was started without adapters."""
    history: tuple[Mapping[str, Any], ...]
    """The moves of names, oldest first, with time and person."""

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> "AdapterReport":
        """Return the report that the program printed."""
        return cls(
            served=Served(**said["served"]),
            running=Running(**said["running"]) if said["running"] else None,
            history=tuple(said["history"]),
        )

    @property
    def answering(self) -> Served:
        """The adapters that the engine serves now; empty if no engine answers."""
        return self.running or Served(versions={}, aliases={})

    @property
    def names(self) -> Mapping[str, str]:
        """The version that each name alone means, to the engine or else after its next start."""
        return {**self.served.aliases, **self.answering.aliases}

    def meanings(self, adapter: str) -> set[str | None]:
        """Return the versions that `adapter` alone means, now and after the next start; None stands for no version."""
        return {each.aliases.get(adapter) for each in (self.served, self.running) if each is not None}
