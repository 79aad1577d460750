"""The type of the fixture `deployed`."""

from collections.abc import Callable

from tests.doubles.provider.mocks import TableMocks

Deployed = Callable[..., TableMocks]
"""Runs the program of cloud `gcp` on a stack file's values and returns what it registered."""
