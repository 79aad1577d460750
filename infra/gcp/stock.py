"""Where GCP offers which machine types. What is in stock only a launch tells; a spot price is the same in all zones."""

from infra.gcp.api import everywhere, listed
from infra.gcp.shapes import accelerator_type, machine_type


def zones_of(project: str, region: str) -> list[str]:
    """Return the zones of a region that are up, by name."""
    zones = listed("Zones", project=project)
    return sorted(each.name for each in zones if each.region.rpartition("/")[2] == region and each.status == "UP")


def offered(project: str, region: str, types: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the zones of a region that offer each machine type, with its accelerator where it has one beside it."""
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
