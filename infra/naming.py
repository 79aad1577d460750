"""Names of what a rented stack makes."""

import re

from infra.lease import Lease

OWN_NAME = re.compile(r"llm-(?P<stack>[a-z][a-z0-9-]*)-(?P<id>[0-9a-f]{8})(?P<rest>(?:-[a-z0-9-]+)?)")
"""What `physical_name` makes, and what may be added to it."""


def physical_name(stack: str, lease: Lease) -> str:
    """Return the name of what must be named, unique in the account: two checkouts may have stacks of one name."""
    return f"llm-{stack}-{lease.id}"


def host_names(stack: str, count: int) -> list[str]:
    """Return the names of the hosts; the first has number 1."""
    return [f"{stack}-{number}" for number in range(1, count + 1)]
