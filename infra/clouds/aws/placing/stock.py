"""Where AWS offers which machine types, and at what spot price. Only a launch shows whether a type is in stock."""

from dataclasses import dataclass
from datetime import UTC, datetime

from infra.clouds.aws.api.client import call, pages


@dataclass(frozen=True)
class SpotPrice:
    """The current spot price of one type in one zone."""

    zone: str
    machine_type: str
    usd_per_hour: float


DOWN = ("impaired", "unavailable")
"""States of a zone in which EC2 creates nothing. Other states do not block: `information` is only a note, and in a
`constrained` zone a launch shows whether there is capacity."""


def zones_of(region: str) -> dict[str, str]:
    """Return the zones of a region that this account may use: by name, "" or the state that blocks the zone.

    Without local zones.
    """
    wanted = [{"Name": "zone-type", "Values": ["availability-zone"]}]
    seen = call("ec2", region, "describe_availability_zones", Filters=wanted)["AvailabilityZones"]
    states = {str(each["ZoneName"]): str(each.get("State", "")) for each in seen}
    return {zone: states[zone] if states[zone] in DOWN else "" for zone in sorted(states)}


def offered(region: str, machine_types: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the zones that offer each machine type."""
    found = pages(
        "ec2",
        region,
        "describe_instance_type_offerings",
        "InstanceTypeOfferings",
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": list(machine_types)}],
    )
    by_type: dict[str, list[str]] = {each: [] for each in machine_types}
    for each in found:
        by_type[each["InstanceType"]].append(str(each["Location"]))
    return {machine_type: sorted(zones) for machine_type, zones in by_type.items()}


def spot_prices(region: str, machine_types: tuple[str, ...]) -> list[SpotPrice]:
    """Return the newest spot price of each type and zone."""
    history = pages(
        "ec2",
        region,
        "describe_spot_price_history",
        "SpotPriceHistory",
        InstanceTypes=list(machine_types),
        ProductDescriptions=["Linux/UNIX"],
        StartTime=_now(),  # A start time of now returns the current price.
    )
    newest: dict[tuple[str, str], SpotPrice] = {}
    for each in history:
        price = SpotPrice(str(each["AvailabilityZone"]), str(each["InstanceType"]), float(each["SpotPrice"]))
        newest.setdefault((price.zone, price.machine_type), price)  # listed newest first
    return list(newest.values())


def _now() -> str:
    return datetime.now(UTC).isoformat()
