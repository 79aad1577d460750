"""What AWS has of ours: how a thing is found by tag or name, and told whose it is."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from infra.aws.tags import ID, KEEP, STACK

OWN_NAME = re.compile(r"llm-(?P<stack>[a-z][a-z0-9-]*)-(?P<id>[0-9a-f]{8})(?:-(?:host|timetable))?")
LOGS_PREFIX = "/llm-deploy/"

GONE_STATES = ("deleted", "deleting")


def tag_filter(lease_id: str | None) -> list[dict[str, Any]]:
    """Return how EC2 is asked for the things of one lease, or of all."""
    if lease_id is None:
        return [{"Name": "tag-key", "Values": [ID]}]
    return [{"Name": f"tag:{ID}", "Values": [lease_id]}]


def owner_by_tags(seen: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Return whose a tagged thing is."""
    tags = {each["Key"]: each["Value"] for each in seen}
    return {"stack": tags.get(STACK, "?"), "lease_id": tags.get(ID, ""), "keep": KEEP in tags}


def owner_by_name(name: str) -> dict[str, Any] | None:
    """Return whose a named thing is; None when it is none of ours."""
    found = OWN_NAME.fullmatch(name.removeprefix(LOGS_PREFIX))
    return {"stack": found["stack"], "lease_id": found["id"]} if found else None
