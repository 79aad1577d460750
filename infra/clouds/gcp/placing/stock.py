"""Where GCP offers which machine types. Only a launch shows whether one is in stock. Zones have equal spot prices."""

from typing import Any

from catalog.gcp_shapes import accelerator_type, machine_type
from infra.clouds.gcp.api.client import everywhere, listed

UP = "UP"


def zones_of(project: str, region: str) -> dict[str, str]:
    """Return the zones of a region: by name, "" or the status that blocks the zone."""
    seen = {str(each.name): str(each.status) for each in listed("Zones", project=project) if _region(each) == region}
    return {zone: "" if seen[zone] == UP else seen[zone] for zone in sorted(seen)}


def _region(zone: Any) -> str:
    return str(zone.region).rpartition("/")[2]


def offered(project: str, region: str, types: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the zones of a region that offer each machine type, with its separate accelerator if it has one."""
    return {each: sorted(_zones(project, each, region)) for each in types}


def _zones(project: str, name: str, region: str) -> set[str]:
    zones = _with("MachineTypes", project, "machine_types", machine_type(name), region)
    accelerator = accelerator_type(name)
    return (
        zones & _with("AcceleratorTypes", project, "accelerator_types", accelerator, region) if accelerator else zones
    )


def _with(kind: str, project: str, key: str, name: str, region: str) -> set[str]:
    found = everywhere(kind, project, key, f'name = "{name}"')
    return {zone for zone, each in found if each.name == name and zone.rpartition("-")[0] == region}
