"""What GCP's metadata server may answer, over a real socket."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.spot_notice.finding import Finding
from services.spot_notice.google import MAINTENANCE, PREEMPTED, Google, Key
from tests.doubles import metadata
from tests.doubles.running import running
from tests.gateways import DEADLINE_S, wait_for

NOW = 1_800_000_000.0


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with running(metadata.server("127.0.0.1", 0, tmp_path)) as service:
        yield f"http://127.0.0.1:{service.server_address[1]}"


CASES = {
    "nothing": ({}, ()),
    "preempted": ({"preempted": "TRUE"}, (Finding("preempted", "gcp", NOW, NOW + 30, counted=True),)),
    "maintenance that ends it": (
        {"maintenance": "TERMINATE_ON_HOST_MAINTENANCE"},
        (Finding("maintenance", "gcp", NOW, NOW + 60, counted=True),),
    ),
    "maintenance that moves it": ({"maintenance": "MIGRATE_ON_HOST_MAINTENANCE"}, ()),
    "another word": ({"preempted": "maybe"}, ()),
}


@pytest.mark.parametrize(("files", "expected"), CASES.values(), ids=CASES)
def test_answers(url: str, tmp_path: Path, files: dict[str, str], expected: tuple[Finding, ...]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    google = Google(url, lambda: NOW, gpu=False)
    google.start()
    wait_for(lambda: not google.look().problem, "the first answers")
    assert google.look().findings == expected


def test_a_change_comes_at_once(url: str, tmp_path: Path) -> None:
    key = Key(url + PREEMPTED)
    key.wait()
    assert (key.value, key.problem) == ("FALSE", "")
    waiting = threading.Thread(target=key.wait)
    waiting.start()
    (tmp_path / "preempted").write_text("TRUE")
    waiting.join(DEADLINE_S)
    assert (key.value, waiting.is_alive()) == ("TRUE", False)


def test_a_server_that_is_not_googles(url: str) -> None:
    key = Key(url + "/latest/meta-data")
    key.wait()
    assert key.problem == "the metadata server answers 401, or is not Google's"


def test_a_silent_server_keeps_the_last_value(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "maintenance").write_text("TERMINATE_ON_HOST_MAINTENANCE")
    key = Key(url + MAINTENANCE)
    key.wait()
    monkeypatch.setattr(key, "_url", "http://127.0.0.1:1")
    key.wait()
    assert (key.value, "refused" in key.problem) == ("TERMINATE_ON_HOST_MAINTENANCE", True)
