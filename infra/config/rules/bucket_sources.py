"""Rules between what is served and the bucket that machines may read: found out here, not on a machine that costs."""

import re
from collections.abc import Iterator

from core.rules import Problem
from infra.config.models.deployment import DeploymentConfig
from infra.config.models.storage import BucketSpec
from serving.spec.remote_sources import BucketSource

KIND_OF_CLOUD = {"aws": "s3", "gcp": "gs"}
"""The kind of bucket that a machine's own role can be given."""

OWN_NAMES = "llm-"
"""How the names of buckets begin that are made; the rest is settled by `up`."""


def host_may_read(config: DeploymentConfig) -> Iterator[Problem]:
    """Model and adapters come from buckets that the machines' role reaches, where it is said to fetch them."""
    if config.cloud not in KIND_OF_CLOUD:
        return
    serving = config.serving
    sources = [("serving.model.source", serving.model.source)]
    sources += [(f"serving.adapters[{index}].source", each.source) for index, each in enumerate(serving.adapters)]
    for key, source in sources:
        if isinstance(source, BucketSource) and source.credentials == "host" and not _reaches(config, source):
            yield Problem(
                key,
                f"the machines' role may not read {source.url}",
                _resource(source) if source.kind == KIND_OF_CLOUD[config.cloud] else "write credentials: handed",
            )


def _reaches(config: DeploymentConfig, source: BucketSource) -> bool:
    """Return whether the role that is made covers the folder."""
    bucket, folder = _parts(source)
    spec: BucketSpec | None = config.storage.bucket
    if spec is None or source.kind != KIND_OF_CLOUD[config.cloud]:
        return False
    named = bucket == spec.name if spec.name is not None else bucket.startswith(OWN_NAMES)
    return named and f"{folder}/".startswith(spec.prefix)


def _resource(source: BucketSource) -> str:
    bucket, folder = _parts(source)
    return f"write storage.bucket: {{name: {bucket}, prefix: {folder}/}}, or credentials: handed"


def _parts(source: BucketSource) -> tuple[str, str]:
    """Return bucket and folder."""
    bucket, _slash, folder = source.url.partition("://")[2].strip("/").partition("/")
    return bucket, folder


AWS_RESERVED = re.compile(r"(xn--|sthree-|amzn-s3-demo-).*|.*(-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3)")
"""Names that belong to other kinds of things than buckets (docs.aws.amazon.com: S3, bucket naming rules)."""


NAMES = {
    "aws": (r"[a-z0-9.-]{3,63}", "3 to 63 lower-case letters, digits, - and ."),
    "gcp": (
        r"(?!goog)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*",
        "3 to 63 lower-case letters, digits, - and _, or such parts with dots between them",
    ),
}
"""How each cloud writes the name of a bucket, as a pattern and in words. What both refuse is in models/storage.py
(docs.aws.amazon.com: S3, bucket naming rules; cloud.google.com/storage/docs/buckets)."""


def bucket_is_one_of_cloud(config: DeploymentConfig) -> Iterator[Problem]:
    """An existing bucket has a name that its cloud takes.

    On AWS it is a plain one: a role cannot be given an access point or a directory bucket by that name.
    """
    spec, key = config.storage.bucket, "storage.bucket.name"
    if config.cloud not in NAMES or spec is None or spec.name is None:
        return
    pattern, words = NAMES[config.cloud]
    if not re.fullmatch(pattern, spec.name):
        yield Problem(key, f"{spec.name} is not a bucket name of {config.cloud}", f"write {words}")
    elif config.cloud == "aws" and AWS_RESERVED.fullmatch(spec.name):
        what = f"{spec.name} is the name of an access point or another special thing of S3, not of a bucket"
        yield Problem(key, what, "write the name of the bucket behind it")


BUCKET_RULES = (host_may_read, bucket_is_one_of_cloud)
