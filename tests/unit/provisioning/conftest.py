"""Fixtures for tests of the gateway: an engine double and a real HAProxy in front of it, made anew for each test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.engine import EngineDouble, running_engine
from tests.gateways import RunningGateway, running_gateway

NewGateway = Callable[..., RunningGateway]


@pytest.fixture
def engine() -> Iterator[EngineDouble]:
    """An engine double."""
    with running_engine() as double:
        yield double


@pytest.fixture
def new_gateway(tmp_path: Path, engine: EngineDouble) -> Iterator[NewGateway]:
    """A factory of one gateway in front of `engine`, with fields of GatewaySpec."""
    with ExitStack() as undo:

        def make(**spec: Any) -> RunningGateway:
            return undo.enter_context(running_gateway(tmp_path, engine, **spec))

        yield make
