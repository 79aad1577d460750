"""The rule about resource names that contain the stack's name."""

import re
from collections.abc import Iterator

from catalog.clouds import MADE
from core.reading.rules import Problem
from infra.config.models.deployment import DeploymentConfig

GOOGLE = re.compile(r"g[o0]{2}g[l1]e")
"""GCP bucket names may not contain `google` or close misspellings (cloud.google.com: bucket naming)."""

MAX_NAME = 63
"""Characters of a host name, and of a resource's name on GCP (RFC 1035)."""

BESIDE_HOST = len("llm-") + len("-0123abcd") + len("-data")
"""What the name of a data disk on GCP has beside the name of its host."""


def stack_name_fits(config: DeploymentConfig, stack: str) -> Iterator[Problem]:
    """Yield a problem for each resource whose name the cloud would refuse. All others start with `llm-` and fit."""
    bucket = config.storage.bucket
    if config.cloud == "gcp" and bucket is not None and bucket.name is None and GOOGLE.search(stack):
        yield Problem(
            "storage.bucket",
            f"cannot be created for a stack called {stack}: GCP refuses bucket names with google in them",
            "give the stack another name, or write an existing bucket",
        )
    yield from _pools_fit(config, stack)


def _pools_fit(config: DeploymentConfig, stack: str) -> Iterator[Problem]:
    """Yield a problem for each pool whose machines would get too long a name."""
    more = BESIDE_HOST if config.cloud == "gcp" else 0
    for pool, machine in config.pools.items():
        host = f"{stack}-{pool}-{machine.machine.count}"
        longest = MAX_NAME - more - (len(host) - len(pool))
        if len(pool) > longest and config.cloud in MADE:
            what = f"is too long for the names of machines of a stack called {stack}"
            hint = f"write at most {longest} characters, or " if longest > 0 else ""
            yield Problem(f"pools.{pool}", what, f"{hint}give the stack a shorter name")
