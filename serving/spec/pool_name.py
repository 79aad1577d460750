"""Names of pools: the hosts that serve the same base model."""

from collections.abc import Collection, Iterator
from typing import Annotated

from core.reading.rules import Problem, matching

MAIN = "main"
"""The pool that `serving` describes."""

OWN_BACKENDS = ("engine-metrics", "overflow", "clients", "classes")
"""HAProxy's backends on a gateway beside those of pools."""

RESERVED = (*OWN_BACKENDS, "gateway", "metrics")
"""Names in the gateway's configuration, where a pool is a backend: the last two are frontends."""

DOOR_METRICS = "metrics-"
"""Beginning of a door's backends beside that of its pool."""

OTHER_NAME = "give it another name"

PoolName = Annotated[
    str,
    matching(
        r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?",
        "is not the name of a pool; write lower-case letters, digits and -, at most 32, with no - at either end",
    ),
]


def is_reserved(pool: str) -> bool:
    """Return whether a gateway or a door uses the name itself."""
    return pool in RESERVED or pool.startswith(DOOR_METRICS)


def names_are_free(pools: Collection[str]) -> Iterator[Problem]:
    """No pool has a name that means something else. Keys begin with `pools`."""
    for pool in pools:
        if pool == MAIN:
            yield Problem(f"pools.{pool}", "is the pool that `serving` describes", OTHER_NAME)
        elif is_reserved(pool):
            yield Problem(f"pools.{pool}", "is a name that the gateway itself uses", OTHER_NAME)
