"""The placement that a stack has already: what its state exports, else what this checkout noted. Asks no cloud.

`make up` reads the state through the Pulumi CLI (infra/automation/stack.py); the program asks the engine that runs it
(infra/lifecycle/own_placement.py). Both are a `State` here, so both choose by the same rules.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from infra.automation.backend import Backend
from infra.contract.stack_placement import KnownPlacement, Placement, read_placement


class State(Protocol):
    """What the choice of a placement asks of a stack's state."""

    @property
    def backend(self) -> Backend:
        """Where the state is kept."""
        ...

    def outputs(self) -> Mapping[str, Any] | None:
        """Return the outputs of the last `up`; None: there is no stack."""
        ...

    def known_ids(self) -> set[str]:
        """Return what tells the resources that a cloud made from each other; empty when the state has none."""
        ...

    def has_machines(self) -> bool:
        """Return whether the state has a machine that a cloud made."""
        ...


def recorded_placement(stack: str, state: State) -> tuple[KnownPlacement | None, bool]:
    """Return the placement of a stack, and whether its state exports it. None: the stack was never made.

    The state comes before the checkout's note: somebody else may have run the last `up`.
    """
    outputs, noted = state.outputs() or {}, read_placement(stack)
    value = outputs.get("placement", outputs.get("lease"))  # `lease` in the state of stacks made before 0.2.0
    exported = Placement.model_validate(value) if value else None
    if exported is not None and noted is not None and _never_stood(noted, exported, state):
        return noted, True
    return (KnownPlacement.of(exported) if exported else noted), exported is not None


def _never_stood(noted: KnownPlacement, exported: Placement, state: State) -> bool:
    """Return whether a state has outputs though its stack never stood: older programs exported them too early."""
    if noted.is_complete or noted.id != exported.id:
        return False
    return (noted.holds_nothing and noted.placement == exported) or not state.has_machines()


def begun_again(previous: KnownPlacement, state: State, now: datetime) -> KnownPlacement:
    """Return the placement with its lifetime beginning now, when its first `up` has made nothing yet.

    It was only previewed, or failed before the cloud made anything: the hours since then are not lived.
    """
    if previous.is_complete or state.known_ids():
        return previous
    return previous.model_copy(update={"began_at": now.replace(microsecond=0)})
