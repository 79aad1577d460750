"""Rules about tags (AWS) and labels (GCP): one field, and a rule for each cloud."""

import re
from collections.abc import Iterator

from core.reading.rules import Problem
from infra.config.models.deployment import DeploymentConfig

OWN_PREFIX = "llm-deploy"
"""Prefix of the project's own tags. `down` and `orphans` find the resources of a stack by them."""

MAX_TAGS = 40
"""AWS allows 50 tags and GCP 64 labels on a resource. The project needs the remaining ones."""

AWS_KEY_CHARS, AWS_VALUE_CHARS = 128, 256
AWS_KEY = r"[A-Za-z0-9.:=+@_-]+"
"""Narrower than AWS's own rule: hosts read their tags by key from the metadata service, and AWS refuses to launch a
machine with other keys. That service also allows a comma, which IAM and S3 do not."""

AWS_RESERVED_KEYS = (".", "..", "_index")
AWS_VALUE = r"[\w .:/=+@-]*"
AWS_NAME = "name"
"""The tag that the AWS console shows as the name, in lower case: IAM refuses two keys that differ in case alone."""

GCP_CHARS = 63
GCP_KEY = r"[a-z][a-z0-9_-]*"
GCP_VALUE = r"[a-z0-9_-]*"


def tags_fit_cloud(config: DeploymentConfig) -> Iterator[Problem]:
    """The cloud allows all keys and values."""
    if len(config.tags) > MAX_TAGS:
        yield Problem("tags", f"has {len(config.tags)} entries", f"write at most {MAX_TAGS}")
    check = {"aws": _aws, "gcp": _gcp}.get(config.cloud)
    seen: dict[str, str] = {}
    for key, value in config.tags.items():
        if key.lower().startswith(OWN_PREFIX):
            yield Problem(f"tags.{key}", f"keys that start with {OWN_PREFIX} are reserved", "write another key")
        elif key.lower() in seen:
            yield Problem(f"tags.{key}", f"differs from {seen[key.lower()]} only in case", "keep one of the two")
        elif check is not None:
            yield from check(key, value)
        seen.setdefault(key.lower(), key)


def _aws(key: str, value: str) -> Iterator[Problem]:
    """AWS: letters, digits and . : = + - @ _; in values also spaces and /. The prefix `aws:` is reserved."""
    if len(key) > AWS_KEY_CHARS or not re.fullmatch(AWS_KEY, key) or key in AWS_RESERVED_KEYS:
        yield Problem(
            f"tags.{key}",
            "is not a tag key of aws that hosts can read",
            f"write letters a-z and A-Z, digits and .:=+-@_, at most {AWS_KEY_CHARS}",
        )
    elif key.lower().startswith("aws:"):
        yield Problem(f"tags.{key}", "keys that start with aws: belong to AWS", "write another key")
    elif key.lower() == AWS_NAME:
        yield Problem(f"tags.{key}", "the project sets the tag Name itself", "write another key")
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
