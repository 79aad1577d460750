"""One stack and every operation on it: the only module that runs the Pulumi engine.

If a program declares half of a stack, the Pulumi engine deletes the other half. So no other module may run it. Decides
nothing about clouds. Every operation first recovers from an interrupted one.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from catalog.clouds import RENTED
from core.console import step
from core.errors import DeployError
from core.paths import outputs_file, stack_state_dir
from core.waiting.deadline import Deadline
from infra.automation.backend import PROJECT, Backend, find_backend
from infra.automation.backend_lock import unlocked
from infra.automation.engine_errors import EngineError
from infra.automation.events import Report
from infra.automation.lock import Operation, has_unfinished, operation
from infra.automation.pulumi_cli import Engine, KeptMachines, Typed

Answer = TypeVar("Answer")

NO_STACK = re.compile(r"no stack named '.*' found")

MACHINE = ":compute/instance:Instance", ":ec2/instance:Instance"
"""Endings of the types of machines in a state."""

PROGRAM = "pulumi:pulumi:Stack"
"""Type of the resource that has the outputs of the Pulumi program."""

ENGINE = "pulumi:"
"""Prefix of the types that the Pulumi engine creates without a cloud: stack, providers, stashes."""


class Stack:
    """A stack that this process has locked. Made by `hold`."""

    def __init__(self, engine: Engine, held: Operation) -> None:
        self._engine = engine
        self._held = held
        self._state: dict[str, Any] | None = None
        """The last exported state, kept because each export starts the CLI. None: the next read exports it.

        A change by another checkout is not seen until then.
        """

    @property
    def backend(self) -> Backend:
        """Where the stack's state is kept."""
        return self._engine.backend

    @property
    def interrupted(self) -> bool:
        """Whether the previous command was interrupted or failed."""
        return self._held.interrupted

    def read_again(self) -> None:
        """Export the state at the next read: another checkout may have changed it."""
        self._state = None

    def hand_over(self, name: str, value: str) -> None:
        """Put `value` into the environment of the Pulumi program."""
        self._engine.settings[name] = value

    def known_ids(self) -> set[str]:
        """Return the ids of all resources in the state that a cloud created. Empty: there are none, or no stack.

        Leaves out providers and host keys: the Pulumi engine creates them itself, before it calls a cloud.
        """
        return {
            str(each["id"]) for each in self._resources() if "id" in each and not str(each["type"]).startswith(ENGINE)
        }

    def has_creations_in_flight(self) -> bool:
        """Return whether a command was interrupted while it created something, in any checkout.

        The request may have reached the cloud, which may list the new resource only seconds later.
        """
        pending = self._deployment().get("pending_operations") or []
        return any(each.get("type") == "creating" for each in pending)

    def has_machines(self) -> bool:
        """Return whether the state has a machine of a cloud."""
        return bool(self.machines())

    def machines(self) -> list[str]:
        """Return the names of the machines of a cloud in the state."""
        found = (each for each in self._resources() if str(each["type"]).endswith(MACHINE))
        return [str(each["urn"]).rsplit("::", 1)[-1] for each in found]

    def written_at(self) -> str:
        """Return when the Pulumi engine last wrote the state, in its own format. Empty: unknown."""
        return str(self._deployment().get("manifest", {}).get("time") or "")

    def preview(self) -> Report:
        """Report what `up` would do. Removes the stack again if it did not exist before."""
        report = self._stream("preview", "--refresh")
        if report is not None:
            return report
        self._create()
        try:
            return self._stream("preview") or Report()
        finally:
            self.remove()

    def up(self, *, limit_s: float | None = None) -> Report:
        """Refresh the state, then change the resources to what the stack's file says.

        Raises EngineTimeoutError when that takes longer than `limit_s`.
        """
        report = self._recovered("up", "--yes", "--skip-preview", "--refresh", limit_s=limit_s)
        if report is None:
            self._create()
            report = self._stream("up", "--yes", "--skip-preview", limit_s=limit_s)
        return report or Report()

    def typed(self, arguments: Sequence[str], *, config: bool) -> Typed:
        """Run the CLI with the user's own arguments, at their terminal. `config`: with a copy of the stack's file.

        Recovers from an interrupted command first.
        """
        if self._held.interrupted:
            self._forget_unfinished(None)
        self._state = None
        return self._engine.at_terminal(arguments, self._held, config=config)

    def create(self) -> bool:
        """Create the stack, without resources, unless it exists. Return whether it was created."""
        if self.outputs() is not None:
            return False
        self._create()
        return True

    def refresh(self) -> Report | None:
        """Read the stack's resources from the cloud into the state. None: there is no stack."""
        return self._recovered("refresh", "--yes", "--skip-preview")

    def destroy(self, *, keep: bool = False, limit_s: float | None = None) -> Report | None:
        """Remove the stack's resources; with `keep`, leave the protected ones. None: there is no stack.

        Raises EngineTimeoutError when that takes longer than `limit_s`.
        """
        protected = ["--exclude-protected"] if keep else []
        # One resource that cannot be removed must not keep the machines running.
        return self._recovered("destroy", "--yes", "--skip-preview", "--continue-on-error", *protected, limit_s=limit_s)

    def unprotect(self) -> None:
        """Remove the protection that an earlier version of the stack's file asked for."""
        if any(each.get("protect") for each in self._resources()):
            self._ask("state", "unprotect", "--all", "--yes", "--stack", self._engine.named)

    def outputs(self) -> dict[str, Any] | None:
        """Return the outputs of the last `up` from the state. None: there is no stack."""
        if self._exported() is None:
            return None
        found = [each.get("outputs") or {} for each in self._resources() if each["type"] == PROGRAM]
        return dict(found[0]) if found else {}

    def changed_at(self) -> float | None:
        """Return when the state was last changed, in seconds since the epoch. None: there is no stack, or no change.

        For our own backend, that is the time of the state file. Other backends are queried.
        """
        if self.backend.ours:
            file = self.backend.state_file(PROJECT, self._engine.stack)
            return file.stat().st_mtime if file else None
        words = ("stack", "history", "--json", "--page-size", "1", "--page", "1", "--stack", self._engine.named)
        try:
            updates = json.loads(self._engine.ask(*words))
        except EngineError as error:
            if NO_STACK.search(str(error)):
                return None
            raise self._in_words(error) from None
        ends = [datetime.fromisoformat(each["endTime"]).timestamp() for each in updates if "endTime" in each]
        return max(ends, default=None)

    def remove(self, *, with_resources: bool = False) -> None:
        """Remove the stack, its history and backups. Pulumi refuses a stack with resources, except by force."""
        anyway = ["--force"] if with_resources else []
        self._ask(
            "stack", "rm", "--yes", "--preserve-config", "--remove-backups", *anyway, "--stack", self._engine.named
        )

    def _create(self) -> None:
        self._ask("stack", "init", self._engine.named, "--no-select")

    def _recovered(self, verb: str, *arguments: str, limit_s: float | None = None) -> Report | None:
        """Run the Pulumi engine after recovering from an interrupted command."""
        end = None if limit_s is None else Deadline.after(limit_s)
        if self._held.interrupted and self.backend.knows(PROJECT, self._engine.stack) is not False:
            self._forget_unfinished(limit_s)
        return self._stream(verb, *arguments, limit_s=None if end is None else end.left_s())

    def _forget_unfinished(self, limit_s: float | None) -> None:
        """Drop creations whose outcome is unknown. The refresh reads from the cloud what exists."""
        pending = self._deployment().get("pending_operations") or []
        if pending:
            with step(f"look up the result of {len(pending)} unfinished operation(s)"):
                self._stream("refresh", "--yes", "--skip-preview", "--clear-pending-creates", limit_s=limit_s)

    def _resources(self) -> list[dict[str, Any]]:
        """Return the resources in the state. Empty: it has none, or there is no stack."""
        return self._deployment().get("resources") or []

    def _deployment(self) -> dict[str, Any]:
        """Return the state. Empty: there is no stack."""
        return self._exported() or {}

    def _exported(self) -> dict[str, Any] | None:
        """Return the state. None: there is no stack."""
        if self.backend.knows(PROJECT, self._engine.stack) is False:
            return None
        if self._state is None:
            try:
                exported = json.loads(self._engine.ask("stack", "export", "--stack", self._engine.named))
            except EngineError as error:
                if NO_STACK.search(str(error)):
                    return None
                raise self._in_words(error) from None
            self._state = dict(exported.get("deployment") or {})
        return self._state

    def _stream(self, verb: str, *arguments: str, limit_s: float | None = None) -> Report | None:
        """Run the Pulumi engine. None: there is no stack."""
        if self.backend.knows(PROJECT, self._engine.stack) is False:
            return None
        try:
            return self._unlocked(lambda: self._engine.stream(verb, *arguments, operation=self._held, limit_s=limit_s))
        except EngineError as error:
            if NO_STACK.search(str(error)):
                return None
            raise self._in_words(error) from None

    def _unlocked(self, run: Callable[[], Answer]) -> Answer:
        """Return the result of `run`. If a killed Pulumi engine left its lock, remove that and run again, once."""

        def cancel() -> None:
            self._ask("cancel", "--yes", "--stack", self._engine.named)

        self._state = None
        return unlocked(run, cancel, stack=self._engine.stack)

    def _ask(self, *arguments: str) -> str:
        try:
            return self._unlocked(lambda: self._engine.ask(*arguments))
        except EngineError as error:
            raise self._in_words(error) from None

    def _in_words(self, error: EngineError) -> DeployError:
        """Return an error of the CLI as a DeployError."""
        lines = str(error).removeprefix("error: ").splitlines() or ["the Pulumi CLI failed and gave no reason"]
        backend = self._engine.backend
        hint = "" if backend.ours else f"its state is in {backend.shown}"
        return DeployError(lines[0], where=f"stack {self._engine.stack}", hint=hint, detail="\n".join(lines[1:]))


@contextmanager
def hold(
    name: str, cloud: str, *, stop_earlier: bool = False, reference: str = "", kept_machines: KeptMachines = dict
) -> Iterator[Stack]:
    """Yield the stack `name`, locked against other commands. The CLI is found or built when it is needed.

    Waits for a Pulumi engine that outlived its command. With `stop_earlier`, stops it. `reference` is the name of the
    stack for the CLI, if that is not `name`. `kept_machines`: as in Engine.
    """
    with operation(name, stop_earlier=stop_earlier) as held:
        backend = find_backend()
        if held.interrupted:
            backend.drop_torn_notes(PROJECT, name)
        vendor = cloud if cloud in RENTED else None
        engine = Engine(backend, name, held.folder, reference=reference, vendor=vendor, kept_machines=kept_machines)
        yield Stack(engine, held)


def beside_others(name: str) -> Stack:
    """Return the stack `name` for reading its state. Takes no lock, so the stack must not be changed with it."""
    folder = stack_state_dir(name)
    return Stack(Engine(find_backend(), name, folder), Operation(folder, interrupted=False))


@contextmanager
def only_looking(name: str, cloud: str, *, kept_machines: KeptMachines = dict) -> Iterator[Stack]:
    """Yield the stack `name` as `hold` does, and remove its folder afterwards if it was new.

    Otherwise keys and copies that are not needed before the first `up` would outlive the stack's file.
    """
    folder = outputs_file(name).parent
    is_new = not folder.exists()
    with hold(name, cloud, kept_machines=kept_machines) as stack:
        try:
            yield stack
        finally:
            if is_new and not outputs_file(name).exists() and not has_unfinished(name):
                shutil.rmtree(folder)
