"""Whether a GPU is busy, from a program in place of nvidia-smi; and when the watcher asks."""

from pathlib import Path

import pytest

from services.engine_watch import gpu
from services.engine_watch.judge import Memory, judge
from tests.gateways import DEADLINE_S, wait_for
from tests.unit.services.engine_watch.looks import BURNING_S, look

CASES = {
    "busy": ("echo 87", True),
    "idle": ("echo 0", False),
    "one of two": ("echo 0; echo 3", True),
    "unknown": ("echo '[N/A]'", False),
    "lost from the bus": ("echo 'Unable to determine the device handle'; exit 15", False),
    "it fails without a word": ("exit 9", None),
}


@pytest.mark.parametrize(("script", "expected"), CASES.values(), ids=CASES)
def test_reads_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: bool | None) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(gpu, "ASK_S", DEADLINE_S)
    assert gpu.Gpus().busy() is expected


def test_without_the_program_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu.Gpus().busy() is None


def test_a_program_that_hangs_in_the_driver_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher would stand still just when a GPU is lost. No second one is started beside it."""
    program, starts = tmp_path / "nvidia-smi", tmp_path / "starts"
    program.write_text(f"#!/bin/sh\necho x >> {starts}\nwhile [ -e {program} ]; do sleep 0.05; done\necho 5\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(gpu, "ASK_S", 0.5)
    gpus = gpu.Gpus()
    assert gpus.busy() is None
    wait_for(starts.exists, "its start")
    assert gpus.busy() is None
    assert starts.read_text() == "x\n"
    program.unlink()
    wait_for(lambda: gpus.busy() is not None or not gpus._asking.is_alive(), "its end")  # type: ignore[union-attr]


def test_a_gpu_is_asked_only_if_work_makes_no_progress() -> None:
    rows = [
        look(0.0, busy=True, mark=("1",)),
        look(1.0, busy=True, mark=("2",)),
        look(2.0, busy=True, mark=("2",)),
        look(3.0, busy=True, mark=("3",)),
        look(4.0, mark=("3",)),
    ]
    memory, doubts = Memory(), []
    for each in rows:
        memory, _ = judge(memory, each, BURNING_S)
        doubts.append(memory.doubtful)
    assert doubts == [False, False, True, False, False]
