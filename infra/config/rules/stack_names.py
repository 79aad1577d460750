"""What a cloud refuses in names that are made of a stack's name."""

import re
from collections.abc import Iterator

from core.rules import Problem
from infra.config.models.deployment import DeploymentConfig

GOOGLE = re.compile(r"g[o0]{2}g[l1]e")
"""Names of buckets of GCP may contain neither `google` nor close misspellings (cloud.google.com: bucket naming)."""


def stack_name_fits(config: DeploymentConfig, stack: str) -> Iterator[Problem]:
    """Yield what cannot be made for a stack of this name. All other names begin with `llm-` and are short enough."""
    bucket = config.storage.bucket
    if config.cloud == "gcp" and bucket is not None and bucket.name is None and GOOGLE.search(stack):
        yield Problem(
            "storage.bucket",
            f"cannot be made for a stack called {stack}: GCP refuses names of buckets with google in them",
            "take another name for the stack, or name an existing bucket",
        )
