"""What AWS has of ours: how a thing is found by tag or name, and told whose it is."""

from collections.abc import Iterable, Mapping
from typing import Any

from infra.clouds.aws.api.tags import ID, KEEP, STACK
from infra.clouds.hosts import naming

ENDINGS = "host|timetable"
"""Of the names of roles."""

LOGS_PREFIX = "/llm-deploy/"

GONE_STATES = ("deleted", "deleting")


def tag_filter(placement_id: str | None) -> list[dict[str, Any]]:
    """Return how EC2 is asked for the things of one lease, or of all."""
    if placement_id is None:
        return [{"Name": "tag-key", "Values": [ID]}]
    return [{"Name": f"tag:{ID}", "Values": [placement_id]}]


def owner_by_tags(seen: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Return whose a tagged thing is."""
    tags = {each["Key"]: each["Value"] for each in seen}
    return {"stack": tags.get(STACK, "?"), "placement_id": tags.get(ID, ""), "keep": KEEP in tags}


def owner_by_name(name: str) -> dict[str, Any] | None:
    """Return whose a named thing is; None when it is none of ours."""
    return naming.owner_by_name(name.removeprefix(LOGS_PREFIX), ENDINGS)
