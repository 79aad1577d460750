"""One run over a list of resources: look at all of them, then compare and change one after the other."""

from __future__ import annotations

import contextlib
import importlib
import time
from types import SimpleNamespace

from .events import Failure, RebootNeeded
from .paths import os_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Iterable, Sequence

    from .host import Host

KINDS = (
    "command", "directory", "download", "file", "generated_secret", "link", "packages", "sshd_file", "swap", "sysctl",
    "tree", "unit", "user", "venv",
)  # fmt: skip
ATOMIC = ("file", "generated_secret", "link", "download")
"""Kinds whose failed changes leave the host as it was, so that no unit needs a restart."""


class DesiredResource(SimpleNamespace):
    """One resource as the controller sent it: the fields of its class in resources.py, plus `id` and `kind`."""

    id: str
    kind: str

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids whose failure stops this resource. A unit is not restarted after a change that failed."""
        return (*self.after, *getattr(self, "restart_on", ()), *getattr(self, "reload_on", ()))


class Run:
    """Compares, changes, and reports each resource. A failure stops the resources that depend on it, and no others."""

    def __init__(self, resources: Sequence[DesiredResource], host: Host, *, dry: bool) -> None:
        self._resources = resources
        self._host = host
        self._dry = dry
        self._kinds = {kind: _load(kind) for kind in {resource.kind for resource in resources}}
        self._facts: dict[str, Any] = {}
        self._stopped: dict[str, str] = {}
        """Ids that failed or were skipped, each with the id of the failure behind it."""
        self._changed = False

    def look(self) -> None:
        """Gather the facts of all resources by kind. A kind that runs a program runs it once for all."""
        pending = []
        for kind, module in self._kinds.items():
            group = [resource for resource in self._resources if resource.kind == kind]
            with contextlib.suppress(Failure, OSError):  # `_fact` reads each again, so that the one at fault fails
                pending.append((group, module.look(group, self._host)))
        for group, finish in pending:
            with contextlib.suppress(Failure, OSError):
                self._facts.update(zip([resource.id for resource in group], finish()))

    def change(self) -> bool:
        """Bring each resource in order, and return whether none failed."""
        for resource in self._resources:
            self._host.events.stop_if_cut()
            cause = next((self._stopped[need] for need in resource.needs if need in self._stopped), None)
            if cause is not None:
                self._stopped[resource.id] = cause
                self._host.events.emit("resource", id=resource.id, status="skipped", error=f"depends on {cause}")
                continue
            self._bring(resource)
        if not self._stopped and not self._dry:
            for action in self._host.at_end:
                with contextlib.suppress(OSError):  # the next run finds and removes the rest
                    action()
        return not self._stopped

    def _bring(self, resource: DesiredResource) -> None:
        began = time.monotonic()
        changes: list[Any] = []
        diff = ""
        try:
            fact = self._fact(resource)
            changes = self._kinds[resource.kind].plan(resource, fact)
            if changes:
                diff = self._diff(resource, fact)
                self._apply(resource, fact, changes)
        except (Failure, OSError) as error:
            failure = (
                error
                if isinstance(error, Failure)
                else os_failure(error, str(error.filename or getattr(resource, "path", "/")))
            )
            self._stopped[resource.id] = resource.id
            outcome = {"status": "failed", "error": failure.what, "detail": failure.detail}
        except RebootNeeded as reason:
            self._stopped[resource.id] = "a reboot"
            outcome = {"status": "changed", "reboot": str(reason)}
        else:
            outcome = {"status": "changed" if changes else "ok"}
        words = [text for _, text in changes]
        seconds = round(time.monotonic() - began, 3)
        quiet = outcome["status"] == "ok"
        self._host.events.emit(
            "resource", hold=quiet, id=resource.id, changes=words, diff=diff, seconds=seconds, **outcome
        )

    def _fact(self, resource: DesiredResource) -> Any:
        """Return the fact. It is read again if this run has changed anything, because that may have changed the fact.

        A dry run changes nothing, but records which units would need a restart.
        """
        stale = self._changed and (not self._dry or resource.kind == "unit")
        if stale or resource.id not in self._facts:
            (self._facts[resource.id],) = self._kinds[resource.kind].look([resource], self._host)()
        return self._facts[resource.id]

    def _diff(self, resource: DesiredResource, fact: Any) -> str:
        differ = getattr(self._kinds[resource.kind], "diff", None)
        return str(differ(resource, fact)) if differ else ""

    def _apply(self, resource: DesiredResource, fact: Any, changes: list[Any]) -> None:
        """Record on disk which units the change affects, then make it. Raises Failure for a refused change."""
        refusal = next((words for verb, words in changes if verb == "refuse"), "")
        if refusal and not self._dry:
            raise Failure(f"{resource.path}: {refusal}")
        units = [other for other in self._resources if other.kind == "unit"]
        due = {unit.id: "reload" for unit in units if resource.id in unit.reload_on}
        due.update({unit.id: "restart" for unit in units if resource.id in unit.restart_on})
        before = {unit: self._host.state.due(unit) for unit in due}
        self._host.state.set_due(due)
        self._changed = True
        if self._dry:
            return
        try:
            self._kinds[resource.kind].apply(resource, fact, changes, self._host)
        except (Failure, OSError):
            if resource.kind in ATOMIC:
                self._host.state.set_due({unit: "" for unit, action in before.items() if not action})
            raise


def _load(kind: str) -> ModuleType:
    if kind not in KINDS:
        raise Failure(f"unknown kind of resource: {kind}")
    return importlib.import_module(f".kinds.{kind}", __package__)


def read_resources(resources: Iterable[dict[str, Any]], keep_secret: Any) -> list[DesiredResource]:
    """Return the resources; each secret becomes its text and is masked from now on."""
    return [
        DesiredResource(**{name: _unwrap(value, keep_secret) for name, value in entry.items()}) for entry in resources
    ]


def _unwrap(value: Any, keep_secret: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"secret"}:
            keep_secret(value["secret"])
            return value["secret"]
        return {name: _unwrap(item, keep_secret) for name, item in value.items()}
    return value


def read_environment(document: dict[str, Any], keep_secret: Any) -> dict[str, str]:
    """Return the environment of all programs that run here, e.g. a proxy; secrets in it are masked from now on."""
    for mask in document.get("masks", ()):
        _unwrap(mask, keep_secret)
    return {name: str(_unwrap(value, keep_secret)) for name, value in document.get("environment", {}).items()}
