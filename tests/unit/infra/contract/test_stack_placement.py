"""Leases: noted, read again, handed over, ended."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.errors import UsageError
from core.paths import placement_file
from infra.contract.stack_placement import (
    PLACEMENT_VARIABLE,
    Placement,
    placement_from_environ,
    read_placement,
    write_placement,
)

LEASE = Placement(
    id="0123abcd",
    region="ap-northeast-2",
    began_at=datetime(2026, 11, 21, 12, tzinfo=UTC),
    image_name="ubuntu-24.04",
    image="ami-0a24040000000000a",
    machine_type="g5.xlarge",
    zone="ap-northeast-2a",
    zones=("ap-northeast-2a",),
)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))


def test_what_was_noted_is_read_again() -> None:
    write_placement("prod", LEASE)

    assert read_placement("prod") == LEASE


def test_no_lease_is_none_and_makes_no_folder() -> None:
    assert read_placement("prod") is None
    assert not placement_file("prod").parent.exists()


def test_a_broken_note_counts_as_none() -> None:
    placement_file("prod").parent.mkdir(parents=True)
    placement_file("prod").write_text('{"id": "?"}')

    assert read_placement("prod") is None


def test_the_end_is_counted_from_the_beginning() -> None:
    assert LEASE.ends_at(1.5) == datetime(2026, 11, 21, 13, 30, tzinfo=UTC)


def test_the_program_takes_the_lease_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLACEMENT_VARIABLE, LEASE.model_dump_json())

    assert placement_from_environ() == LEASE


def test_without_the_variable_the_program_was_handed_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PLACEMENT_VARIABLE, raising=False)

    assert placement_from_environ() is None


def test_a_variable_that_holds_another_thing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLACEMENT_VARIABLE, "{}")

    with pytest.raises(UsageError, match=f"does not hold a placement; unset {PLACEMENT_VARIABLE}"):
        placement_from_environ()
