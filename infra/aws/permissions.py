"""The permissions that calls to AWS need, by the names that IAM has for them."""

SERVICES = {"service-quotas": "servicequotas"}
"""Prefixes of permissions that differ from the service's name in the SDK."""

ACTIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("s3", "HeadBucket"): ("s3:ListBucket",),
    ("s3", "ListBuckets"): ("s3:ListAllMyBuckets",),
    ("s3", "ListObjectVersions"): ("s3:ListBucketVersions",),
    ("s3", "DeleteObjects"): ("s3:DeleteObject", "s3:DeleteObjectVersion"),
    ("s3", "DeleteObject"): ("s3:DeleteObject", "s3:DeleteObjectVersion"),
}
"""Permissions that are not called as the operation is (Service Authorization Reference)."""


def actions_of(service: str, operation: str) -> tuple[str, ...]:
    """Return the permissions for an operation, e.g. `ec2:DescribeImages` for `ec2` and `DescribeImages`."""
    own = (f"{SERVICES.get(service, service)}:{operation}",)
    return ACTIONS.get((service, operation), own)
