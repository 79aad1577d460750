"""How a resource on AWS is found by tag or name, and which stack it belongs to."""

from collections.abc import Iterable, Mapping
from typing import Any

from infra.clouds.aws.api.tags import ID, KEEP, STACK
from infra.clouds.program import naming

ENDINGS = "host|gateway|timetable"
"""The ends of the names of roles."""

LOGS_PREFIX = "/llm-deploy/"

GONE_STATES = ("deleted", "deleting")


def tag_filter(placement_id: str | None) -> list[dict[str, Any]]:
    """Return the EC2 filters for the resources of one placement, or of all."""
    if placement_id is None:
        return [{"Name": "tag-key", "Values": [ID]}]
    return [{"Name": f"tag:{ID}", "Values": [placement_id]}]


def owner_by_tags(seen: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Return the owner of a tagged resource."""
    tags = {each["Key"]: each["Value"] for each in seen}
    return {"stack": tags.get(STACK, "?"), "placement_id": tags.get(ID, ""), "keep": KEEP in tags}


def owner_by_name(name: str) -> dict[str, Any] | None:
    """Return the owner of a named resource; None for a name that no stack uses."""
    return naming.owner_by_name(name.removeprefix(LOGS_PREFIX), ENDINGS)
