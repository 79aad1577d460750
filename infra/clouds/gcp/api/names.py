"""Names of a stack's resources on GCP, and the stack that a name belongs to. Names are unique in a project."""

import re
from typing import Any

from infra.clouds.program import naming
from infra.contract.stack_placement import ID

DATA_SUFFIX = "-data"
"""The suffix that a data disk adds to its host's name."""

ENDINGS = "[a-z0-9-]+"
"""Most names are the stack's name with a number or a word."""

ACCOUNT = re.compile(rf"llm-(?P<id>{ID})(?:{naming.GATEWAY_SUFFIX})?@.*")
"""Service accounts: their ids have at most 30 characters, so the stack is only in the displayed name."""


def node_name(physical: str, ending: str) -> str:
    """Return the name of a host with an engine, its boot disk and its address; `ending` ends the host's own name."""
    return f"{physical}-{ending}"


def pool_of_node(name: str, placement_id: str) -> str:
    """Return the pool of a host with an engine, by its name or that of its data disk."""
    _stack, _id, ending = name.removesuffix(DATA_SUFFIX).partition(f"-{placement_id}-")
    return naming.pool_of_ending(ending)


def gateway_node_name(physical: str) -> str:
    """Return the name of the gateway's own machine, its boot disk and its address."""
    return f"{physical}{naming.GATEWAY_SUFFIX}"


def account_id(placement_id: str) -> str:
    """Return the id of the service account that a stack's hosts have."""
    return f"llm-{placement_id}"


def owner_by_name(name: str) -> dict[str, Any] | None:
    """Return the owner of a named resource; None for a name that no stack uses."""
    return naming.owner_by_name(name, ENDINGS)
