"""Placements: written to and read from notes, also older ones, and passed to the program."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.errors import UsageError
from core.paths import old_placement_file, placement_file, placement_files
from infra.contract.stack_placement import (
    OLD_PLACEMENT_VARIABLE,
    PLACEMENT_VARIABLE,
    KnownPlacement,
    Placement,
    Progress,
    forget_placement,
    placement_from_environ,
    read_placement,
    write_placement,
)

PLACED = KnownPlacement(
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


def test_a_note_is_read_unchanged() -> None:
    for progress in (None, Progress(), Progress(holds_nothing=True, blank_at="2026-11-21T12:00:00Z")):
        write_placement("prod", KnownPlacement.of(PLACED, progress))

        assert read_placement("prod") == KnownPlacement.of(PLACED, progress)


@pytest.mark.parametrize(
    ("flags", "progress"),
    [
        ({"stands": True, "lacks_stock": False, "blank_at": ""}, None),
        ({"stands": False, "lacks_stock": False, "blank_at": ""}, Progress()),
        ({"stands": False, "lacks_stock": True}, Progress(holds_nothing=True)),
        ({"stands": False, "blank_at": "2026-11-21T12:00:00Z"}, Progress(blank_at="2026-11-21T12:00:00Z")),
        ({"stands": True, "blank_at": "2026-11-21T12:00:00Z"}, None),
    ],
)
def test_a_note_of_an_older_release_is_read(flags: dict[str, Any], progress: Progress | None) -> None:
    """Before 0.2.0 the placement had three flags instead of the progress."""
    placement_file("prod").parent.mkdir(parents=True)
    placement_file("prod").write_text(json.dumps(PLACED.placement.model_dump(mode="json") | flags))

    assert read_placement("prod") == KnownPlacement.of(PLACED, progress)


def test_an_export_of_an_older_release_is_read_and_a_new_one_has_no_progress() -> None:
    exported = PLACED.placement.model_dump(mode="json")

    assert (
        Placement.model_validate(exported | {"stands": True, "lacks_stock": False, "blank_at": ""}) == PLACED.placement
    )
    assert not {"stands", "lacks_stock", "blank_at", "progress"} & set(exported)


def test_a_missing_note_is_none_and_creates_no_folder() -> None:
    assert read_placement("prod") is None
    assert not placement_file("prod").parent.exists()


def test_a_broken_note_counts_as_missing() -> None:
    placement_file("prod").parent.mkdir(parents=True)
    placement_file("prod").write_text('{"id": "?"}')

    assert read_placement("prod") is None


def test_the_end_is_the_beginning_plus_the_lifetime() -> None:
    assert PLACED.ends_at(1.5) == datetime(2026, 11, 21, 13, 30, tzinfo=UTC)


def test_the_program_takes_the_placement_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLACEMENT_VARIABLE, PLACED.model_dump_json())

    assert placement_from_environ() == PLACED


def test_without_the_variable_there_is_no_placement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PLACEMENT_VARIABLE, raising=False)

    assert placement_from_environ() is None


def test_refuses_a_variable_that_holds_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLACEMENT_VARIABLE, "{}")

    with pytest.raises(UsageError, match=f"does not hold a placement; unset {PLACEMENT_VARIABLE}"):
        placement_from_environ()


@pytest.fixture
def old_note() -> Path:
    """A note under its name of 0.2.0."""
    path = old_placement_file("prod")
    path.parent.mkdir(parents=True)
    path.write_text(PLACED.model_dump_json())
    return path


def test_a_note_under_its_old_name_is_read(old_note: Path) -> None:
    assert old_note.name == "lease.json"
    assert read_placement("prod") == PLACED
    assert placement_files() == [old_note]


def test_the_next_write_replaces_a_note_under_its_old_name(old_note: Path) -> None:
    newer = PLACED.model_copy(update={"zone": "ap-northeast-2b"})

    write_placement("prod", newer)

    assert not old_note.exists()
    assert read_placement("prod") == newer


def test_a_note_under_its_new_name_wins(old_note: Path) -> None:
    """A command that was killed between the two steps of a write leaves both."""
    newer = PLACED.model_copy(update={"zone": "ap-northeast-2b"})
    placement_file("prod").write_text(newer.model_dump_json())

    assert old_note.exists()
    assert read_placement("prod") == newer
    assert placement_files() == [placement_file("prod")]


def test_a_removed_stack_loses_both_notes(old_note: Path) -> None:
    placement_file("prod").write_text(PLACED.model_dump_json())

    forget_placement("prod")

    assert not old_note.exists()
    assert read_placement("prod") is None


def test_the_old_name_of_the_variable_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PLACEMENT_VARIABLE, raising=False)
    monkeypatch.setenv(OLD_PLACEMENT_VARIABLE, PLACED.model_dump_json())
    assert placement_from_environ() == PLACED

    newer = PLACED.model_copy(update={"zone": "ap-northeast-2b"})
    monkeypatch.setenv(PLACEMENT_VARIABLE, newer.model_dump_json())
    assert placement_from_environ() == newer
