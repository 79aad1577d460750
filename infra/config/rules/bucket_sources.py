"""Rules that join the sources of models with the bucket that machines may read."""

import re
from collections.abc import Iterator

from core.reading.rules import Problem
from infra.config.models.deployment import DeploymentConfig
from infra.config.models.storage import BucketSpec
from serving.spec.remote_sources import BucketSource

KIND_OF_CLOUD = {"aws": "s3", "gcp": "gs"}
"""The kind of bucket that a machine's own role can read."""

OWN_NAMES = "llm-"
"""Prefix of the names of new buckets. `up` chooses the rest."""


def host_may_read(config: DeploymentConfig) -> Iterator[Problem]:
    """With `credentials: host`, model and adapters are in a bucket that the machines' role can read."""
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
    """Return whether the role of the machines may read the folder."""
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
"""Names of other things than buckets, e.g. access points (docs.aws.amazon.com: S3, bucket naming rules)."""


NAMES = {
    "aws": (r"[a-z0-9.-]{3,63}", "3 to 63 lower-case letters, digits, - and ."),
    "gcp": (
        r"(?!goog)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*",
        "3 to 63 lower-case letters, digits, - and _, or several such parts joined by dots",
    ),
}
"""The form of a bucket's name in each cloud, as a pattern and in words. models/storage.py has what both refuse
(docs.aws.amazon.com: S3, bucket naming rules; cloud.google.com/storage/docs/buckets)."""


def bucket_is_one_of_cloud(config: DeploymentConfig) -> Iterator[Problem]:
    """An existing bucket has a name that its cloud allows.

    On AWS it is a general purpose bucket: the policy of a role cannot name an access point or a directory bucket that
    way.
    """
    spec, key = config.storage.bucket, "storage.bucket.name"
    if config.cloud not in NAMES or spec is None or spec.name is None:
        return
    pattern, words = NAMES[config.cloud]
    if not re.fullmatch(pattern, spec.name):
        yield Problem(key, f"{spec.name} is not a bucket name of {config.cloud}", f"write {words}")
    elif config.cloud == "aws" and AWS_RESERVED.fullmatch(spec.name):
        what = f"{spec.name} is the name of an S3 access point or alias, not of a bucket"
        yield Problem(key, what, "write the name of its bucket")


def notices_are_of_spot_machines(config: DeploymentConfig) -> Iterator[Problem]:
    """Only a spot machine gets a notice."""
    spec = config.storage.bucket
    if spec is not None and spec.notices and not config.has_spot:
        what = "is true, but the machines are not on the spot market"
        yield Problem("storage.bucket.notices", what, "leave it out, or write market: spot under machine")


BUCKET_RULES = (host_may_read, bucket_is_one_of_cloud, notices_are_of_spot_machines)
