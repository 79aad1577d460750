"""Names of pools: the hosts that serve the same base model."""

from collections.abc import Collection, Iterator
from typing import Annotated

from core.reading.rules import Problem, matching

MAIN = "main"
"""The pool that `serving` describes."""

RESERVED = ("classes", "clients", "engine-metrics", "gateway", "metrics", "overflow")
"""Names in the gateway's configuration, where a pool is a backend."""

PoolName = Annotated[
    str,
    matching(
        r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?",
        "is not the name of a pool; write lower-case letters, digits and -, at most 32, with no - at either end",
    ),
]


def names_are_free(pools: Collection[str]) -> Iterator[Problem]:
    """No pool has a name that means something else. Keys begin with `pools`."""
    for pool in pools:
        if pool == MAIN:
            yield Problem(f"pools.{pool}", "is the pool that `serving` describes", "give it another name")
        elif pool in RESERVED:
            yield Problem(f"pools.{pool}", "is a name that the gateway itself uses", "give it another name")
