"""Names of a stack's resources on AWS and GCP."""

import re
from typing import Any

from infra.contract.stack_placement import ID, Placement

OWN_NAME = rf"llm-(?P<stack>[a-z][a-z0-9-]*)-(?P<id>{ID})"
"""Pattern of `physical_name`."""


def physical_name(stack: str, placement: Placement) -> str:
    """Return a name that is unique in the account: two checkouts may have stacks of the same name."""
    return f"llm-{stack}-{placement.id}"


def owner_by_name(name: str, endings: str) -> dict[str, Any] | None:
    """Return the stack and id in a resource's name; None if it is not one of our names.

    `endings` is a pattern of the suffixes that a cloud adds to the name after a hyphen.
    """
    found = re.fullmatch(f"{OWN_NAME}(?:-(?:{endings}))?", name)
    return {"stack": found["stack"], "placement_id": found["id"]} if found else None


def host_names(stack: str, count: int) -> list[str]:
    """Return the names of the hosts; the first has number 1."""
    return [f"{stack}-{number}" for number in range(1, count + 1)]
