"""Disks: types by machine family, sizes."""

from typing import TYPE_CHECKING, Any

from tests.doubles.gcp.refusal import Refusal, invalid

if TYPE_CHECKING:
    from tests.doubles.gcp.store import Store

PERSISTENT = frozenset({"pd-standard", "pd-balanced", "pd-ssd"})
NEWER = frozenset({"pd-balanced", "pd-ssd"})
HYPER = frozenset({"hyperdisk-balanced"})

OF_FAMILY = {
    "n1": PERSISTENT,
    "n2": PERSISTENT,
    "e2": PERSISTENT,
    "a2": PERSISTENT,
    "g2": NEWER,
    "c3": NEWER | HYPER,
    "a3": NEWER | HYPER,
}
"""Types that a family accepts, as far as they are modelled."""

LEAST_GB = {"hyperdisk-balanced": 4}
MOST_GB = 65536


def check(_store: "Store", _path: str, body: dict[str, Any]) -> None:
    """Raise Refusal for a disk that GCP does not make."""
    kind, size = body["type"].rpartition("/")[2], int(body["sizeGb"])
    if kind not in PERSISTENT | HYPER:
        raise invalid("resource.type", f"'{kind}'. The disk type does not exist.")
    if not LEAST_GB.get(kind, 10) <= size <= MOST_GB:
        raise Refusal(400, "invalid", f"Disk size: '{size} GB' is out of the range of type {kind}.")

    speed, iops = int(body.get("provisionedThroughput", 0)), int(body.get("provisionedIops", 3000))
    if speed and kind not in HYPER:
        raise invalid("resource.provisionedThroughput", f"'{speed}'. It cannot be set for disk type {kind}.")
    if speed and not 140 <= speed <= min(2400, iops // 4):
        raise invalid("resource.provisionedThroughput", f"'{speed}'. It is out of range for {iops} IOPS.")


def check_for_machine(machine_type: str, kind: str) -> None:
    """Raise Refusal for a disk type that a machine does not accept."""
    if kind not in OF_FAMILY[machine_type.partition("-")[0]]:
        raise Refusal(400, "badRequest", f"[{machine_type}] features and [disk-type: {kind}] are not compatible.")
