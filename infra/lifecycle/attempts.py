"""The attempts of one `up`. Each notes its placement, passes it to the Pulumi program, and runs the Pulumi engine."""

from typing import TYPE_CHECKING

from core.console import say, step
from core.errors import DeployError
from infra.automation.events import Report
from infra.clouds.candidates import Candidate
from infra.clouds.cloud import Cloud
from infra.contract.stack_placement import (
    PLACEMENT_VARIABLE,
    KnownPlacement,
    Placement,
    Progress,
    write_placement,
)
from infra.lifecycle.placement.blank_volumes import BlankVolumes

if TYPE_CHECKING:
    from infra.automation.stack import Stack

ENDED_AT_START = "unexpected state"
"""Words of the Pulumi plugin for an instance that ended while it started. The state still has that instance."""


class Attempts:
    """Runs the Pulumi engine in one place after the other."""

    def __init__(self, stack: str, cloud: Cloud, previous: KnownPlacement | None, held: "Stack") -> None:
        self._stack = stack
        self._cloud = cloud
        self._held = held
        self._is_first_up = previous is None or not previous.is_complete
        self._volumes = BlankVolumes(previous, held)
        self._instances_ended = False

    def run(self, candidate: Candidate, left_s: float) -> Report:
        """Create the stack in a place, within `left_s` seconds. Raises DeployError when that fails."""
        placement = candidate.placement
        if self._is_first_up:
            self._held.unprotect()  # a blank disk of the previous attempt may be in another zone
        # Without `blank_at`: an attempt that is interrupted cannot note whether it created a host.
        self._note(placement, Progress() if self._is_first_up else None)
        self._hand_over(placement)
        try:
            report = self._held.up(limit_s=left_s)
        except DeployError as error:
            self._note_failure(placement, f"{error}\n{error.detail}")
            raise
        return report

    def complete(self, placement: Placement, *, shall_run: bool) -> None:
        """Start hosts that are stopped, if they `shall_run`, and note that an `up` of the stack completed."""
        for host in self._cloud.wake(placement) if shall_run else ():
            say(f"  started {host}, which was stopped")
        self._note(placement, None)

    def forget_ended(self) -> None:
        """Remove from the state the instances that ended while they started. Another attempt would do that itself."""
        if not self._instances_ended:
            return
        try:
            with step("check which machines exist (Pulumi refresh)"):
                self._held.refresh()
        except DeployError as error:
            say(f"  ! {error}; the next `up` checks the machines")

    def _hand_over(self, placement: Placement) -> None:
        blank = Progress(blank_at=self._volumes.at) if self._is_first_up else None
        self._held.hand_over(PLACEMENT_VARIABLE, KnownPlacement.of(placement, blank).model_dump_json())

    def _note(self, placement: Placement, progress: Progress | None) -> None:
        write_placement(self._stack, KnownPlacement.of(placement, progress))

    def _note_failure(self, placement: Placement, text: str) -> None:
        self._instances_ended = self._instances_ended or ENDED_AT_START in text
        if self._is_first_up:
            no_capacity = self._cloud.out_of_stock(text) is not None
            self._note(placement, Progress(holds_nothing=no_capacity, blank_at=self._volumes.look_again()))
