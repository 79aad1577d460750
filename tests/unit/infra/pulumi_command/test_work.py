"""What is done around a command that a person typed; the engine only notes what it is asked."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.errors import UsageError
from core.paths import outputs_file
from infra.automation.events import Report
from infra.automation.pulumi_cli import Typed
from infra.contract.stack_placement import GatewayPlacement, KnownPlacement, Progress, read_placement, write_placement
from infra.lifecycle.saved import file_differs, save_outputs
from infra.pulumi_command import work as typed_work
from infra.pulumi_command.work import work
from tests.unit.provisioning.records import stack_values

STACK = "aws-cpu"
PLACEMENT = KnownPlacement(
    id="0123abcd",
    region="ap-northeast-2",
    began_at=datetime(2026, 1, 1, tzinfo=UTC),
    image_name="ubuntu",
    image="ami-1",
    zone="a",
    machine_type="m6i.2xlarge",
    zones=("a", "b"),
)


@dataclass
class Held:
    """A stack that is not there yet, and a CLI that does nothing."""

    typed_as: Typed = field(default_factory=lambda: Typed(0, Report(), changed=True))
    is_there: bool = False
    known: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)

    def create(self) -> bool:
        self.done.append("create")
        return not self.is_there

    def remove(self) -> None:
        self.done.append("remove")

    def typed(self, words: list[str], *, config: bool) -> Typed:
        self.done.append(" ".join([*words, *(["+file"] if config else [])]))
        return self.typed_as

    def known_ids(self) -> set[str]:
        return self.known

    def hand_over(self, name: str, value: str) -> None:
        self.done.append(f"{name}={value}")


class Cloud:
    """A cloud whose words for an empty place are known."""

    def out_of_stock(self, text: str) -> str | None:
        return "none" if "capacity" in text else None

    def hint_for(self, text: str) -> str:
        return "ask an administrator" if "denied" in text else ""


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Held:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    held = Held()

    @contextmanager
    def hold(*_arguments: Any, **_more: Any) -> Iterator[Held]:
        yield held

    monkeypatch.setattr(typed_work, "hold", hold)
    monkeypatch.setattr(typed_work, "rented_cloud", lambda _name: Cloud())
    monkeypatch.setattr(typed_work, "known_placement", lambda *_: read_placement(STACK))
    monkeypatch.setattr(typed_work, "recover", lambda *_: held.done.append("recover"))
    monkeypatch.setattr(typed_work, "provider_environment", lambda *_: {"FROM_CLOUD": "x"})
    return held


def up(
    held: Held, *, status: int = 0, outputs: dict[str, Any] | None = None, error: str = "", failed: Sequence[str] = ()
) -> int:
    report = Report(outputs=outputs or {}, errors=[error] if error else [], failed=list(failed))
    held.typed_as = Typed(status, report, changed=True)
    return work("up", STACK, ["up", "-s", STACK], own_config=False)


def test_up_makes_the_stack_and_notes_what_make_up_would_note(held: Held) -> None:
    outputs = stack_values(stack=STACK) | {"placement": PLACEMENT.placement.model_dump(mode="json")}

    assert up(held, outputs=outputs) == 0

    assert held.done == ["FROM_CLOUD=x", "recover", "create", f"up -s {STACK} +file"]
    assert outputs_file(STACK).exists()
    assert not file_differs(STACK)
    assert read_placement(STACK) == PLACEMENT


def test_outputs_that_are_not_all_there_are_left_to_the_state(held: Held) -> None:
    """`pulumi up --target` runs part of the program."""
    save_outputs(STACK, stack_values(stack=STACK))

    assert up(held) == 0

    assert not outputs_file(STACK).exists()


def test_no_capacity_names_make_up_and_the_note_says_so(held: Held, capsys: pytest.CaptureFixture[str]) -> None:
    write_placement(STACK, PLACEMENT.model_copy(update={"progress": Progress()}))

    assert up(held, status=255, error="InsufficientInstanceCapacity: no capacity") == 255

    reported = capsys.readouterr().err
    assert f"no capacity for m6i.2xlarge in a; `make up STACK={STACK}` tries the file's other zones" in reported
    noted = read_placement(STACK)
    assert noted is not None
    assert noted.holds_nothing


@pytest.mark.parametrize(
    ("progress", "shown"),
    [
        pytest.param(Progress(), f"`make up STACK={STACK}` tries the file's other zones", id="before anything runs"),
        pytest.param(None, "the other machines stay as they are; write another gateway.machine.type", id="running"),
    ],
)
def test_no_capacity_for_the_gateway_alone_names_its_type(
    held: Held, capsys: pytest.CaptureFixture[str], progress: Progress | None, shown: str
) -> None:
    own = GatewayPlacement(machine_type="t3.medium", image="ami-1")
    write_placement(STACK, PLACEMENT.model_copy(update={"progress": progress, "gateway": own}))

    up(held, status=255, error="no capacity", failed=[f"{STACK}-gateway"])

    assert f"no capacity for t3.medium in a; {shown}" in capsys.readouterr().err


def test_an_existing_stack_is_not_noted_as_without_stock(held: Held) -> None:
    write_placement(STACK, PLACEMENT)

    up(held, status=255, error="no capacity")

    assert read_placement(STACK) == PLACEMENT


def test_another_error_gets_the_clouds_hint(held: Held, capsys: pytest.CaptureFixture[str]) -> None:
    up(held, status=255, error="denied")

    assert "ask an administrator" in capsys.readouterr().err


def test_an_update_that_was_not_confirmed_notes_nothing(held: Held) -> None:
    held.typed_as = Typed(255, Report(errors=["no capacity"]), changed=False)
    write_placement(STACK, PLACEMENT.model_copy(update={"progress": Progress()}))

    assert work("up", STACK, ["up"], own_config=False) == 255

    noted = read_placement(STACK)
    assert noted is not None
    assert not noted.holds_nothing


def test_a_preview_leaves_no_stack_that_was_not_there(held: Held) -> None:
    work("preview", STACK, ["preview"], own_config=True)
    assert held.done[-3:] == ["create", "preview", "remove"]

    held.is_there = True
    work("preview", STACK, ["preview"], own_config=False)
    assert held.done[-2:] == ["create", "preview +file"]


@pytest.mark.parametrize("left", [set(), {"vpc-1"}], ids=["all", "a part"])
def test_destroy_keeps_the_note_for_make_down(held: Held, left: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    write_placement(STACK, PLACEMENT)
    save_outputs(STACK, stack_values(stack=STACK))
    held.known = left

    assert work("destroy", STACK, ["destroy"], own_config=False) == 0

    assert f"make down STACK={STACK}" in capsys.readouterr().err
    assert outputs_file(STACK).exists() is bool(left)
    noted = read_placement(STACK)
    assert noted is not None
    assert (noted.id, noted.is_complete) == (PLACEMENT.id, bool(left))


def test_a_missing_stack_is_reported_before_anything_runs(held: Held) -> None:
    with pytest.raises(UsageError, match="there is no stack nonesuch"):
        work("up", "nonesuch", ["up"], own_config=False)
    assert held.done == []


def test_the_organization_of_a_stack_is_kept_for_the_cli(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    @contextmanager
    def hold(name: str, cloud: str, *, reference: str = "") -> Iterator[Held]:
        asked.append((name, cloud, reference))
        yield held

    monkeypatch.setattr(typed_work, "hold", hold)

    work("refresh", f"acme/llm-deploy/{STACK}", ["refresh"], own_config=False)

    assert asked == [(STACK, "aws", f"acme/llm-deploy/{STACK}")]
