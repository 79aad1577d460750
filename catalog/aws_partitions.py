"""The partitions of AWS. They share neither accounts nor prices, and each has its own ARNs. Pure."""

COMMERCIAL = "aws"

_OF_PREFIX = {
    "us-gov-": "aws-us-gov",
    "cn-": "aws-cn",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eu-isoe-": "aws-iso-e",
    "us-isof-": "aws-iso-f",
    "eusc-": "aws-eusc",
}
"""Partition by the prefix of its regions (docs.aws.amazon.com: AWS Fault Isolation Boundaries, partitions)."""


def partition_of(region: str) -> str:
    """Return the partition of a region: the part of an ARN after `arn:`."""
    return next((each for prefix, each in _OF_PREFIX.items() if region.startswith(prefix)), COMMERCIAL)
