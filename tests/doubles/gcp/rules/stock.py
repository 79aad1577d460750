"""Zones that have no such machine for now."""

from typing import TYPE_CHECKING, Any

from tests.doubles.gcp import seed
from tests.doubles.gcp.refusal import Refusal
from tests.doubles.gcp.rules.instances import is_spot, type_of
from tests.doubles.gcp.store import place

if TYPE_CHECKING:
    from tests.doubles.gcp.store import Store


def check(store: "Store", path: str, body: dict[str, Any]) -> None:
    """Raise Refusal, of the operation, when a test says that a zone is out of stock."""
    zone, market = place(path), "spot" if is_spot(body) else "on_demand"
    if store.settings.lacks(zone, type_of(body), market):
        message = (
            f"The zone 'projects/{seed.PROJECT}/zones/{zone}' does not have enough resources available to fulfill the "
            "request.  '(resource type:compute)'."
        )
        raise Refusal(503, "ZONE_RESOURCE_POOL_EXHAUSTED", message, late=True)
