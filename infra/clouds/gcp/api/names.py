"""Names of what a stack makes on GCP, and whose a named thing is. A name is unique in its project."""

import re
from typing import Any

from infra.clouds.hosts import naming
from infra.contract.stack_placement import ID

DATA_SUFFIX = "-data"
"""What a data disk's name has after that of its host."""

ENDINGS = "[a-z0-9-]+"
"""Most things are called as the stack, with a number or a word of their own."""

ACCOUNT = re.compile(rf"llm-(?P<id>{ID})@.*")
"""Service accounts: their ids have at most 30 characters, so the stack is only in the displayed name."""


def node_name(physical: str, number: int) -> str:
    """Return the name of a host, its boot disk and its address."""
    return f"{physical}-{number}"


def account_id(placement_id: str) -> str:
    """Return the id of the service account that a stack's hosts have."""
    return f"llm-{placement_id}"


def owner_by_name(name: str) -> dict[str, Any] | None:
    """Return whose a named thing is; None when it is none of ours."""
    return naming.owner_by_name(name, ENDINGS)
