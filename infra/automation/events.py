"""The events of a run of the Pulumi engine, as lines for a person and one report. Starts nothing.

The Pulumi engine writes one JSON object a line (`pulumi up --json`; fields: sdk/go/common/apitype/events.go of Pulumi).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.reading.strict_json import parse_object

STACK_TYPE = "pulumi:pulumi:Stack"
PROVIDER_TYPES = "pulumi:providers:"

PLANNED = {
    "create": "+ would create",
    "create-replacement": "+ would create again",
    "start": "+ would start",
    "update": "~ would change",
    "delete": "- would remove",
    "delete-replaced": "- would remove the old",
    "import": "= would adopt",
}
"""Steps that are printed, by Pulumi's name. `same`, `read`, `refresh` and the halves of a replacement are not.

`start` is ours: Pulumi calls it `create`, because a refresh did not find the machine. It keeps its disk.
"""

DOING = {
    "create": "+ creating",
    "create-replacement": "+ creating again",
    "start": "+ starting",
    "update": "~ changing",
    "delete": "- removing",
    "delete-replaced": "- removing the old",
    "import": "= adopting",
}

DONE = {
    "create": "+ created",
    "create-replacement": "+ created again",
    "start": "+ started",
    "update": "~ changed",
    "delete": "- removed",
    "delete-replaced": "- removed the old",
    "import": "= adopted",
}

ECHOES = ("update failed", "update canceled", "preview failed", "destroy failed", "refresh failed")
"""Errors that only say that there was an error."""

_NOISE = re.compile(r"^Exception calling application: |^(error|info|warning): ")


@dataclass
class Report:
    """What a run of the Pulumi engine reported. `read` fills it line by line."""

    preview: bool = False
    """Whether the Pulumi engine only says what it would do."""

    kept: Mapping[str, str] = field(default_factory=dict)
    """Machines that exist, each with what is wrong with it if a refresh does not find it, e.g. `is off`."""

    outputs: dict[str, Any] = field(default_factory=dict)
    """The outputs of the stack. Empty until the program has succeeded."""

    done: dict[str, list[str]] = field(default_factory=dict)
    """Names of changed resources, by step: `create`, `delete`, …"""

    planned: dict[str, list[str]] = field(default_factory=dict)
    """Names of the resources that the Pulumi engine was going to change, by step."""

    missing: list[str] = field(default_factory=list)
    """Names of resources that a refresh looked for and did not find."""

    errors: list[str] = field(default_factory=list)

    failed: list[str] = field(default_factory=list)
    """Names of the resources that the errors are about, each once. Errors of the program are about none."""

    began: bool = False
    """Whether the Pulumi engine began to work on resources."""

    _looked_for: set[str] = field(default_factory=set)
    """URNs of the resources for which a refresh has no answer of the provider yet."""

    def read(self, line: str) -> list[str]:
        """Read one line of the Pulumi engine and return the lines to print."""
        try:
            event = parse_object(line)
        except ValueError:
            return []
        self.began = self.began or "preludeEvent" in event
        for kind, take in (
            ("diagnosticEvent", self._diagnostic),
            ("resourcePreEvent", self._begun),
            ("resOutputsEvent", self._ended),
        ):
            if kind in event:
                try:
                    return take(event[kind])
                except (KeyError, TypeError, AttributeError):  # from another version of Pulumi, whose work still counts
                    return []
        return []

    def summary(self) -> str:
        """Return what happened in a few words, e.g. `1 created, 2 removed`."""
        counts = [f"{len(names)} {DONE[op].split(' ', 1)[1]}" for op, names in self.done.items() if op in DONE]
        return ", ".join(counts) or "nothing to change on the machines"

    def _diagnostic(self, event: dict[str, Any]) -> list[str]:
        text = _NOISE.sub("", str(event.get("message", "")).strip())
        severity = event.get("severity")
        if severity == "debug" or not text:
            return []
        if severity == "error":
            if text not in ECHOES:
                self.errors.append(text)
                self._note_failed(str(event.get("urn") or ""))
            return []
        return [f"  {severity}: {text}" if severity == "warning" else f"  {text}"]

    def _note_failed(self, urn: str) -> None:
        name = urn.rsplit("::", 1)[-1]
        if name and name not in self.failed and f"::{STACK_TYPE}::" not in urn:
            self.failed.append(name)

    def _begun(self, event: dict[str, Any]) -> list[str]:
        step, name, what = self._step(event)
        if step == "refresh":
            self._looked_for.add(event["metadata"]["urn"])
        if step not in DOING or not _is_resource(event):
            return []
        self.planned.setdefault(step, []).append(name)
        verb = (PLANNED if self.preview else DOING)[step]
        return [f"  {verb} {name} ({_short(what)}){_changed_keys(event)}"]

    def _ended(self, event: dict[str, Any]) -> list[str]:
        metadata = event["metadata"]
        step, name, what = self._step(event)
        if metadata["urn"] in self._looked_for:
            # If a resource no longer exists, `refresh` reports a delete, `up --refresh` a refresh without a new state.
            self._looked_for.remove(metadata["urn"])
            if metadata.get("new") is not None:
                return []
            self.missing.append(name)
            return [f"  ! {name} {self.kept.get(name, 'is gone')}"]
        if what == STACK_TYPE and step != "delete":
            self.outputs = (metadata.get("new") or {}).get("outputs") or {}
        if self.preview or step not in DONE or not _is_resource(event):
            return []
        self.done.setdefault(step, []).append(name)
        return [f"  {DONE[step]} {name}"]

    def _step(self, event: dict[str, Any]) -> tuple[str, str, str]:
        """Return what is done to a resource, its name and its type."""
        metadata = event["metadata"]
        step, name = metadata["op"], metadata["urn"].rsplit("::", 1)[-1]
        return "start" if step == "create" and name in self.kept else step, name, metadata["type"]


def _is_resource(event: dict[str, Any]) -> bool:
    """Return whether a cloud has the resource. Components only group resources, and providers are local."""
    metadata = event["metadata"]
    state = metadata.get("new") or metadata.get("old") or {}
    return bool(state.get("custom")) and not metadata["type"].startswith(PROVIDER_TYPES)


def _short(what: str) -> str:
    """Return the last word of a type: `Instance` of `aws:ec2/instance:Instance`."""
    return what.rsplit(":", 1)[-1]


def _changed_keys(event: dict[str, Any]) -> str:
    """Return `: key, key` for the changed inputs, else an empty text. Values are left out: they may be secrets."""
    metadata = event["metadata"]
    old, new = ((metadata.get(side) or {}).get("inputs") or {} for side in ("old", "new"))
    keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key)) if old and new else []
    shown = [key for key in keys if not key.startswith("__")]
    return f": {', '.join(shown)}" if shown else ""
