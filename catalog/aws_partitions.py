"""The partitions of AWS: parts that share neither accounts nor prices, each with ARNs of its own. Pure."""

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
"""Partition by how its regions begin (docs.aws.amazon.com: AWS Fault Isolation Boundaries, partitions)."""


def partition_of(region: str) -> str:
    """Return the partition that a region lies in: what an ARN has after `arn:`."""
    return next((each for prefix, each in _OF_PREFIX.items() if region.startswith(prefix)), COMMERCIAL)
