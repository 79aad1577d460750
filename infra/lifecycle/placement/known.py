"""The placement of an existing stack: what its state exports, else what this checkout noted. Queries no cloud.

`make up` reads the state through the Pulumi CLI (infra/automation/stack.py); the program asks the Pulumi engine that
runs it (infra/lifecycle/placement/of_program.py). Both are a `State` here, so both choose by the same rules.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from infra.automation.backend import Backend
from infra.contract.stack_placement import KnownPlacement, Placement, exported_placement, read_placement


class State(Protocol):
    """What the choice of a placement needs from a stack's state."""

    @property
    def backend(self) -> Backend:
        """Where the state is kept."""
        ...

    def outputs(self) -> Mapping[str, Any] | None:
        """Return the outputs of the last `up`; None: there is no stack."""
        ...

    def known_ids(self) -> set[str]:
        """Return an id of each resource that a cloud created. Empty: the state has none."""
        ...

    def has_machines(self) -> bool:
        """Return whether the state has a machine of a cloud."""
        ...


def recorded_placement(stack: str, state: State) -> tuple[KnownPlacement | None, bool]:
    """Return the placement of a stack, and whether its state exports it. None: the stack was never created.

    The state comes before the checkout's note: somebody else may have run the last `up`.
    """
    outputs, noted = state.outputs() or {}, read_placement(stack)
    value = exported_placement(outputs)
    exported = Placement.model_validate(value) if value else None
    if exported is not None and noted is not None and _never_completed(noted, exported, state):
        return noted, True
    return (KnownPlacement.of(exported) if exported else noted), exported is not None


def _never_completed(noted: KnownPlacement, exported: Placement, state: State) -> bool:
    """Return whether a state has outputs although no `up` completed: older releases exported them too early."""
    if noted.is_complete or noted.id != exported.id:
        return False
    return (noted.holds_nothing and noted.placement == exported) or not state.has_machines()


def begun_again(previous: KnownPlacement, state: State, now: datetime) -> KnownPlacement:
    """Return the placement with a lifetime that begins now, if its first `up` has created nothing yet.

    It was only previewed, or failed before the cloud created anything: the hours since then do not count.
    """
    if previous.is_complete or state.known_ids():
        return previous
    return previous.model_copy(update={"began_at": now.replace(microsecond=0)})
