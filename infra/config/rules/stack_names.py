"""The rule about resource names that contain the stack's name."""

import re
from collections.abc import Iterator

from core.reading.rules import Problem
from infra.config.models.deployment import DeploymentConfig

GOOGLE = re.compile(r"g[o0]{2}g[l1]e")
"""GCP bucket names may not contain `google` or close misspellings (cloud.google.com: bucket naming)."""


def stack_name_fits(config: DeploymentConfig, stack: str) -> Iterator[Problem]:
    """Yield a problem for each resource whose name the cloud would refuse. All others start with `llm-` and fit."""
    bucket = config.storage.bucket
    if config.cloud == "gcp" and bucket is not None and bucket.name is None and GOOGLE.search(stack):
        yield Problem(
            "storage.bucket",
            f"cannot be created for a stack called {stack}: GCP refuses bucket names with google in them",
            "give the stack another name, or write an existing bucket",
        )
