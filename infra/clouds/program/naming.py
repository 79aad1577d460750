"""Names of a stack's resources on AWS and GCP."""

import re
from typing import Any

from infra.contract.stack_placement import ID, Placement
from serving.spec.pool_name import MAIN

OWN_NAME = rf"llm-(?P<stack>[a-z][a-z0-9-]*)-(?P<id>{ID})"
"""Pattern of `physical_name`."""

GATEWAY_SUFFIX = "-gateway"
"""Ends the names of what belongs to the gateway's own machine."""


def physical_name(stack: str, placement: Placement) -> str:
    """Return a name that is unique in the account: two checkouts may have stacks of the same name."""
    return f"llm-{stack}-{placement.id}"


def owner_by_name(name: str, endings: str) -> dict[str, Any] | None:
    """Return the stack and id in a resource's name; None if it is not one of our names.

    `endings` is a pattern of the suffixes that a cloud adds to the name after a hyphen.
    """
    found = re.fullmatch(f"{OWN_NAME}(?:-(?:{endings}))?", name)
    return {"stack": found["stack"], "placement_id": found["id"]} if found else None


def gateway_name(stack: str) -> str:
    """Return the name of the host that has the gateway, on a machine of its own."""
    return f"{stack}{GATEWAY_SUFFIX}"


def is_gateway(host: str) -> bool:
    """Return whether a host, by its name, is the gateway's own machine: other names end with a number."""
    return host.endswith(GATEWAY_SUFFIX)


def host_endings(pool: str, count: int) -> list[str]:
    """Return what follows the stack in the names of a pool's hosts, e.g. 1 or large-1; the first has number 1."""
    before = "" if pool == MAIN else f"{pool}-"
    return [f"{before}{number}" for number in range(1, count + 1)]


def pool_of_ending(ending: str) -> str:
    """Return the pool of a host with an engine, by the ending of its name."""
    return ending.rpartition("-")[0] or MAIN
