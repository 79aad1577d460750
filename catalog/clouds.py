"""The clouds by name, and facts about them. Their code is in `infra/clouds/<name>/`."""

from collections.abc import Mapping
from typing import Literal, get_args

CloudName = Literal["local", "aws", "gcp", "existing"]

RentedCloud = Literal["aws", "gcp"]

CLOUDS: tuple[CloudName, ...] = get_args(CloudName)

RENTED: tuple[RentedCloud, ...] = get_args(RentedCloud)
"""Clouds whose machines cost money by the hour."""

ON_THIS_COMPUTER: tuple[CloudName, ...] = ("local",)
"""Clouds whose machines run on this computer. They have no GPU."""

MADE: tuple[CloudName, ...] = (*ON_THIS_COMPUTER, *RENTED)
"""Clouds where we make the machines. Hosts of the others exist already."""

SDKS: Mapping[str, tuple[str, ...]] = {
    "aws": ("pulumi-aws", "boto3"),
    "gcp": ("pulumi-gcp", "google-cloud-compute"),
}
"""Packages of each cloud's extra in pyproject.toml."""
