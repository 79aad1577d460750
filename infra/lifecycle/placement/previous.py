"""The placement that `preview`, `up` and `down` start from: known to the state or this checkout, and checked."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from catalog.clouds import RENTED
from infra.clouds.cloud import Cloud
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, write_placement
from infra.lifecycle.placement.blank_volumes import still_blank
from infra.lifecycle.placement.known import begun_again, recorded_placement
from infra.lifecycle.placement.login import hand_provider_environment
from infra.lifecycle.placement.lost_state import refuse_lost_state

if TYPE_CHECKING:
    from infra.automation.stack import Stack


def known_placement(cloud: str, stack: str, held: "Stack") -> KnownPlacement | None:
    """Return the placement that the stack's state exports, else the one that this checkout noted.

    None: the stack was never created, or it is not on AWS or GCP. Writes the note, and prepares the Pulumi engine for
    the login.
    """
    if cloud not in RENTED:
        return None
    placement, is_exported = recorded_placement(stack, held)
    if placement is not None:
        placement = still_blank(placement, held, exports=is_exported)
        write_placement(stack, placement)  # needed to query the cloud when the state is gone
        hand_provider_environment(cloud, placement, held)
    return placement


def previous_placement(config: DeploymentConfig, stack: str, cloud: Cloud, held: "Stack") -> KnownPlacement | None:
    """Return the placement to continue from. None: the stack is new.

    Raises DeployError if the cloud has the stack's resources and the state has none.
    """
    known = known_placement(config.cloud, stack, held)
    if known is None:
        return None
    return begun_again(refuse_lost_state(cloud, stack, known, held), held, datetime.now(UTC))
