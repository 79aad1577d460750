"""The type of the fixture `deployed`."""

from collections.abc import Callable

from tests.doubles.provider.mocks import TableMocks

Deployed = Callable[..., TableMocks]
"""Runs the program of cloud `aws` on a stack file's values and returns what it registered."""
