"""Rules about tags (AWS) and labels (GCP): one field, two clouds with rules of their own."""

import re
from collections.abc import Iterator

from core.rules import Problem
from infra.config.models.deployment import DeploymentConfig

OWN_PREFIX = "llm-deploy"
"""Tags that start so are ours: `down` and `leftovers` find what belongs to a stack by them."""

MAX_TAGS = 40
"""AWS takes 50 tags and GCP 64 labels on one resource; the rest is ours."""

AWS_KEY_CHARS, AWS_VALUE_CHARS = 128, 256
AWS_KEY = r"[A-Za-z0-9.:=+@_-]+"
"""Narrower than AWS's own rule: hosts read their tags by key from the metadata service, and a launch with another key
is refused. That service takes a comma too, which IAM and S3 do not."""

AWS_RESERVED_KEYS = (".", "..", "_index")
AWS_VALUE = r"[\w .:/=+@-]*"
AWS_NAME = "name"
"""The tag by which AWS shows what a thing is called, in lower case: IAM takes no two keys that differ in case alone."""

GCP_CHARS = 63
GCP_KEY = r"[a-z][a-z0-9_-]*"
GCP_VALUE = r"[a-z0-9_-]*"


def tags_fit_cloud(config: DeploymentConfig) -> Iterator[Problem]:
    """Keys and values are ones that the cloud takes."""
    if len(config.tags) > MAX_TAGS:
        yield Problem("tags", f"has {len(config.tags)} entries", f"write at most {MAX_TAGS}")
    check = {"aws": _aws, "gcp": _gcp}.get(config.cloud)
    seen: dict[str, str] = {}
    for key, value in config.tags.items():
        if key.lower().startswith(OWN_PREFIX):
            yield Problem(f"tags.{key}", f"keys that start with {OWN_PREFIX} are the project's own", "take another key")
        elif key.lower() in seen:
            yield Problem(f"tags.{key}", f"differs from {seen[key.lower()]} in case alone", "keep one of the two")
        elif check is not None:
            yield from check(key, value)
        seen.setdefault(key.lower(), key)


def _aws(key: str, value: str) -> Iterator[Problem]:
    """AWS: letters, digits and . : = + - @ _, in values spaces and / too; the prefix `aws:` is its own."""
    if len(key) > AWS_KEY_CHARS or not re.fullmatch(AWS_KEY, key) or key in AWS_RESERVED_KEYS:
        yield Problem(
            f"tags.{key}",
            "is not a tag key of aws that hosts can read",
            f"write letters a-z and A-Z, digits and .:=+-@_, at most {AWS_KEY_CHARS}",
        )
    elif key.lower().startswith("aws:"):
        yield Problem(f"tags.{key}", "keys that start with aws: belong to AWS", "take another key")
    elif key.lower() == AWS_NAME:
        yield Problem(f"tags.{key}", "everything has a tag Name already, set by the project", "take another key")
    if not value:
        yield Problem(f"tags.{key}", "is empty", f"write 1 to {AWS_VALUE_CHARS} characters, or leave it out")
    elif len(value) > AWS_VALUE_CHARS or not re.fullmatch(AWS_VALUE, value):
        yield Problem(
            f"tags.{key}",
            "has a value that aws refuses",
            f"write letters, digits, spaces and .:/=+-@_, at most {AWS_VALUE_CHARS}",
        )


def _gcp(key: str, value: str) -> Iterator[Problem]:
    """GCP: lower-case letters, digits, _ and -; a key starts with a letter."""
    if len(key) > GCP_CHARS or not re.fullmatch(GCP_KEY, key):
        yield Problem(
            f"tags.{key}",
            "is not a label key of gcp",
            f"write lower-case letters, digits, _ and -, a letter first, at most {GCP_CHARS}",
        )
    if len(value) > GCP_CHARS or not re.fullmatch(GCP_VALUE, value):
        yield Problem(
            f"tags.{key}",
            "has a value that gcp refuses",
            f"write lower-case letters, digits, _ and -, at most {GCP_CHARS}",
        )


TAG_RULES = (tags_fit_cloud,)
