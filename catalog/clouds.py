"""The clouds by name: all of them, those where machines are made, and those where they are rented."""

from typing import Literal, get_args

CloudName = Literal["local", "aws", "gcp", "existing"]

RentedCloud = Literal["aws", "gcp"]

RENTED: tuple[RentedCloud, ...] = get_args(RentedCloud)

MADE: tuple[CloudName, ...] = ("local", *RENTED)
"""Where machines are made; the others are there already."""
