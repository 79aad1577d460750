"""What other people and services have put into a stack's own network on GCP, which cannot go before that does.

Nothing of it is removed: it is named with who made it, as far as GCP tells, and with what removes it.
"""

from collections.abc import Callable, Iterator
from typing import Any

from core.errors import DeployError
from infra.gcp.api import ask, everywhere, listed
from infra.gcp.names import owner_by_name
from infra.things import Thing

SERVICES = {
    "gke-": "GKE",
    "k8s-": "GKE",
    "aet-": "Serverless VPC Access",
    "servicenetworking": "Service Networking",
}
"""Beginnings of the names that services of Google give to what they make, and who that is."""


def others_in(network: Thing) -> list[str]:
    """Return what others have in a network, a line each; where a kind cannot be asked for, that is the line."""
    project, name = str(network.detail["project"]), network.id.rpartition("/")[2]
    lines: list[str] = []
    for look in LOOKS:
        try:
            lines += look(project, name)
        except DeployError as error:
            lines.append(f"not known: {error}")
    return lines


def _firewall_rules(project: str, network: str) -> Iterator[str]:
    for each in listed("Firewalls", project=project):
        if _is_others(each) and _is_in(each.network, network):
            yield _line("firewall rule", each, f"gcloud compute firewall-rules delete {each.name}", project)


def _peerings(project: str, network: str) -> Iterator[str]:
    for each in ask("Networks", "get", project=project, network=network).peerings:
        command = f"gcloud compute networks peerings delete {each.name} --network {network}"
        yield _line(f"peering with {str(each.network).rpartition('/projects/')[2]}", each, command, project)


def _located(noun: str, client: str, key: str, command: str, scope: str) -> Callable[[str, str], Iterator[str]]:
    """Return how a kind that lies in zones or regions, and names its network, is told."""

    def look(project: str, network: str) -> Iterator[str]:
        for place, each in everywhere(client, project, key):
            networks = [each.network] if hasattr(each, "network") else [i.network for i in each.network_interfaces]
            if _is_others(each) and any(_is_in(link, network) for link in networks):
                yield _line(noun, each, f"gcloud compute {command} delete {each.name} --{scope} {place}", project)

    return look


def _line(noun: str, each: Any, command: str, project: str) -> str:
    name = str(each.name)
    service = next((service for start, service in SERVICES.items() if name.startswith(start)), None)
    said = str(getattr(each, "description", "") or "")
    who = f"made by {service}" if service else f"“{said}”" if said else "of others"
    return f"{noun} {name} ({who}); `{command} --project {project}`"


def _is_others(each: Any) -> bool:
    return owner_by_name(str(each.name)) is None


def _is_in(link: object, network: str) -> bool:
    return str(link).rpartition("/networks/")[2] == network


LOOKS = (
    _firewall_rules,
    _located("instance", "Instances", "instances", "instances", "zone"),
    _located("forwarding rule", "ForwardingRules", "forwarding_rules", "forwarding-rules", "region"),
    _located("address", "Addresses", "addresses", "addresses", "region"),
    _located("router", "Routers", "routers", "routers", "region"),
    _located("subnet", "Subnetworks", "subnetworks", "networks subnets", "region"),
    _peerings,
)
