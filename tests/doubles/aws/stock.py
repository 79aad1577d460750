"""Launches that AWS refuses: no stock for a while, or a type that the zone does not have."""

from typing import Any

from tests.doubles.aws.order import Refusal
from tests.doubles.aws.settings import Settings


def refuse_launch(account: str, region: str, action: str, values: dict[str, str], settings: Settings) -> None:
    """Raise Refusal for a RunInstances, or a StartInstances after a stop, that finds no machine."""
    from moto.ec2.models import ec2_backends  # after moto's environment is set

    backend = ec2_backends[account][region]
    if action == "RunInstances":
        market = "spot" if values.get("InstanceMarketOptions.MarketType") == "spot" else "on_demand"
        _refuse(backend, _zone(backend, values), values.get("InstanceType", ""), market, settings)
    elif action == "StartInstances":
        for identity in (value for key, value in values.items() if key.startswith("InstanceId.")):
            instance = backend.get_instance(identity)
            _refuse(backend, str(instance.placement.zone), instance.instance_type, "on_demand", settings)


def _refuse(backend: Any, zone: str, machine_type: str, market: str, settings: Settings) -> None:
    offered = backend.describe_instance_type_offerings(
        location_type="availability-zone", filters={"instance-type": [machine_type], "location": [zone]}
    )
    if not offered:
        raise Refusal(
            400,
            "Unsupported",
            f"Your requested instance type ({machine_type}) is not supported in your requested Availability Zone "
            f"({zone}).",
        )
    if settings.lacks(zone, machine_type, market):
        raise Refusal(
            500,
            "InsufficientInstanceCapacity",
            f"We currently do not have sufficient {machine_type} capacity in the Availability Zone you requested "
            f"({zone}). Our system will be working on provisioning additional capacity.",
        )


def _zone(backend: Any, values: dict[str, str]) -> str:
    """Return the zone of a launch: that of its network interface or subnet, else the one it names."""
    interface = values.get("NetworkInterface.1.NetworkInterfaceId")
    subnet = values.get("SubnetId") or values.get("NetworkInterface.1.SubnetId")
    if interface and interface in backend.enis:
        return str(backend.enis[interface].subnet.availability_zone)
    if subnet:
        return str(backend.get_subnet(subnet).availability_zone)
    return values.get("Placement.AvailabilityZone") or f"{backend.region_name}a"
