"""What a stack asks of the engine; the engine itself only notes it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra.backend import Backend
from infra.engine import EngineError
from infra.events import Report
from infra.operation import Operation
from infra.stack import Stack


@dataclass
class Engine:
    """An engine whose backend knows a stack, or learns of it by `stack init`."""

    made: bool
    stack: str = "one"
    backend: Backend = field(default_factory=lambda: Backend(ours=False, settings={}, shown="somewhere"))
    limits_s: list[float | None] = field(default_factory=list)

    def stream(self, _verb: str, *_arguments: str, operation: Operation, limit_s: float | None) -> Report:  # noqa: ARG002
        if not self.made:
            raise EngineError("error: no stack named 'one' found")
        self.limits_s.append(limit_s)
        return Report()

    def ask(self, *arguments: str) -> str:
        assert arguments[:2] == ("stack", "init")
        self.made = True
        return ""


@pytest.mark.parametrize("made", [True, False], ids=["again", "for the first time"])
def test_up_hands_its_limit_on(made: bool, tmp_path: Path) -> None:
    engine: Any = Engine(made)

    Stack(engine, Operation(tmp_path, interrupted=False)).up(limit_s=60)

    (limit_s,) = engine.limits_s
    assert 0 < limit_s <= 60
