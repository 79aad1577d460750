"""Fixtures of the tests of the gateway."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture
def people() -> Iterator[ThreadPoolExecutor]:
    """Clients that send requests at the same time."""
    with ThreadPoolExecutor(40) as pool:
        yield pool
