"""How a stack calls the engine; the engine is a double that records the calls."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core.paths import outputs_file, stack_state_dir
from infra.automation.backend import Backend
from infra.automation.engine_errors import EngineError
from infra.automation.events import Report
from infra.automation.lock import Operation
from infra.automation.pulumi_cli import Typed
from infra.automation.stack import Stack, only_looking


@dataclass
class Engine:
    """An engine whose backend has the stack, at first or after `stack init`."""

    made: bool
    stack: str = "one"
    named: str = "one"
    backend: Backend = field(default_factory=lambda: Backend(ours=False, settings={}, shown="somewhere"))
    limits_s: list[float | None] = field(default_factory=list)
    exported: dict[str, Any] = field(default_factory=dict)
    exports: int = 0

    def stream(self, _verb: str, *_arguments: str, operation: Operation, limit_s: float | None) -> Report:  # noqa: ARG002
        if not self.made:
            raise EngineError("error: no stack named 'one' found")
        self.limits_s.append(limit_s)
        return Report()

    def at_terminal(self, _arguments: Any, _operation: Operation, *, config: bool) -> Typed:  # noqa: ARG002
        return Typed(0, Report(), changed=True)

    def ask(self, *arguments: str) -> str:
        if arguments[:2] == ("stack", "export"):
            if not self.made:
                raise EngineError("error: no stack named 'one' found")
            self.exports += 1
            return json.dumps(self.exported)
        assert arguments[:2] == ("stack", "init")
        self.made = True
        return ""


@pytest.mark.parametrize("made", [True, False], ids=["again", "for the first time"])
def test_up_passes_its_time_limit_to_the_engine(made: bool, tmp_path: Path) -> None:
    engine: Any = Engine(made)

    Stack(engine, Operation(tmp_path, interrupted=False)).up(limit_s=60)

    (limit_s,) = engine.limits_s
    assert 0 < limit_s <= 60


def test_known_ids_are_only_those_of_cloud_resources(tmp_path: Path) -> None:
    """After an early failure the state had only the engine's own entries, and all running resources seemed orphans."""
    resources = [
        {"type": "pulumi:pulumi:Stack"},
        {"type": "pulumi:providers:aws", "id": "0123"},
        {"type": "pulumi:index:Stash", "id": "host-key"},
        {"type": "aws:ec2/vpc:Vpc", "id": "vpc-1"},
    ]
    engine: Any = Engine(made=True, exported={"deployment": {"resources": resources}})

    assert Stack(engine, Operation(tmp_path, interrupted=True)).known_ids() == {"vpc-1"}


OUTPUTS = {"type": "pulumi:pulumi:Stack", "outputs": {"stack": "one"}}


@pytest.mark.parametrize(
    ("made", "deployment", "outputs"),
    [
        pytest.param(True, {"resources": [{"type": "aws:ec2/vpc:Vpc"}, OUTPUTS]}, {"stack": "one"}, id="after an up"),
        pytest.param(True, {"resources": [{"type": "pulumi:pulumi:Stack"}]}, {}, id="after an up that failed"),
        pytest.param(True, {"manifest": {}}, {}, id="after a destroy"),
        pytest.param(True, None, {}, id="after stack init"),
        pytest.param(False, {}, None, id="no stack"),
    ],
)
def test_outputs_are_those_in_the_state(made: bool, deployment: Any, outputs: Any, tmp_path: Path) -> None:
    engine: Any = Engine(made, exported={"deployment": deployment})

    assert Stack(engine, Operation(tmp_path, interrupted=False)).outputs() == outputs


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda stack: stack.refresh(), id="refresh"),
        pytest.param(lambda stack: stack.typed(["destroy"], config=True), id="typed by the user"),
        pytest.param(lambda stack: stack.read_again(), id="by another checkout"),
    ],
)
def test_the_state_is_exported_again_only_after_a_change(change: Callable[[Stack], object], tmp_path: Path) -> None:
    """Each export starts the CLI: `down` once exported the same state 13 times."""
    engine: Any = Engine(made=True, exported={"deployment": {"resources": [OUTPUTS]}})
    stack = Stack(engine, Operation(tmp_path, interrupted=False))

    for read in (stack.outputs, stack.known_ids, stack.has_machines, stack.written_at):
        read()
    assert engine.exports == 1

    change(stack)
    engine.exported = {"deployment": {"resources": [{"type": "aws:ec2/vpc:Vpc", "id": "vpc-1"}]}}
    assert (stack.outputs(), stack.known_ids()) == ({}, {"vpc-1"})
    assert engine.exports == 2


@pytest.mark.parametrize(
    ("interrupted", "pending", "in_flight"),
    [
        (True, [{"type": "creating", "resource": {}}], True),
        (True, [{"type": "deleting", "resource": {}}], False),
        (True, None, False),
        pytest.param(False, [{"type": "creating", "resource": {}}], True, id="by another checkout"),
    ],
)
def test_only_a_pending_creation_may_still_appear(
    interrupted: bool, pending: list[Any] | None, in_flight: bool, tmp_path: Path
) -> None:
    engine: Any = Engine(made=True, exported={"deployment": {"pending_operations": pending}})

    assert Stack(engine, Operation(tmp_path, interrupted=interrupted)).has_creations_in_flight() is in_flight


def _nothing(_stack: str) -> None: ...


def _a_key_of_before(stack: str) -> None:
    (stack_state_dir(stack) / "keys.json").touch()


@pytest.mark.parametrize(
    ("before", "meanwhile", "stays"),
    [
        pytest.param(_nothing, "id_ed25519", False, id="never created"),
        pytest.param(_a_key_of_before, "id_ed25519", True, id="an earlier file"),
        pytest.param(_nothing, "outputs.json", True, id="created meanwhile"),
        pytest.param(_nothing, "engine.pid", True, id="interrupted, so its engine may still run"),
    ],
)
def test_a_preview_leaves_no_folder_of_a_new_stack(
    before: Callable[[str], None], meanwhile: str, stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preview once left a key and a copy of the stack file that `down` did not find."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    before("one")

    with only_looking("one", "local"):
        (stack_state_dir("one") / meanwhile).touch()

    assert outputs_file("one").parent.exists() is stays
    assert (outputs_file("one").parent / meanwhile).exists() is stays


@pytest.mark.parametrize(
    ("exported", "time"),
    [
        ({"deployment": {"manifest": {"time": "2026-11-21T12:00:00Z"}}}, "2026-11-21T12:00:00Z"),
        ({"deployment": {}}, ""),
        ({}, ""),
    ],
    ids=["written", "without a manifest", "empty"],
)
def test_the_time_of_a_state_is_read_from_its_manifest(exported: Any, time: str, tmp_path: Path) -> None:
    engine: Any = Engine(made=True, exported=exported)

    assert Stack(engine, Operation(tmp_path, interrupted=False)).written_at() == time
