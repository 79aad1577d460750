"""What the watcher reads in /proc: a made one, and this machine's own."""

import os
from pathlib import Path

from services.engine_watch.processes import UnitProcesses, computing
from tests.watches import UNIT, put


def test_processes_of_the_unit_alone(tmp_path: Path) -> None:
    put(tmp_path, 10, "python3", "S", ticks=200)
    put(tmp_path, 11, "VLLM::EngineCor", "S", "R", ticks=300)
    put(tmp_path, 12, "other) R (", "R", cgroup="0::/system.slice/not-vllm.service")
    put(tmp_path, 13, "nginx", "R", cgroup=f"12:pids:/system.slice/{UNIT}.d")
    put(tmp_path, 14, "VLLM::Worker_TP", "T", cgroup=f"1:name=systemd:/system.slice/{UNIT}/inner")
    seen = UnitProcesses(UNIT, str(tmp_path)).look()
    assert [(each.pid, each.state, each.wants_processor, each.stopped, each.computes) for each in seen] == [
        (10, "S", False, False, False),
        (11, "S", True, False, True),
        (14, "T", False, True, True),
    ]
    ticks = os.sysconf("SC_CLK_TCK")
    assert [each.cpu_s * ticks for each in seen] == [250, 350, 50]
    assert [each.pid for each in computing(seen)] == [11, 14]


def test_an_engine_without_titles_computes_in_all_its_processes(tmp_path: Path) -> None:
    put(tmp_path, 10, "ollama", "S", cgroup="0::/system.slice/ollama.service")
    seen = UnitProcesses("ollama.service", str(tmp_path)).look()
    assert computing(seen) == seen != ()


def test_a_new_start_is_found_at_the_next_look(tmp_path: Path) -> None:
    put(tmp_path, 10, "python3", "S")
    processes = UnitProcesses(UNIT, str(tmp_path))
    assert [each.pid for each in processes.look()] == [10]
    (tmp_path / "10").rename(tmp_path / "gone")
    put(tmp_path, 20, "python3", "S")
    assert [each.pid for each in processes.look()] == [20]


def test_a_name_with_brackets_and_blanks(tmp_path: Path) -> None:
    put(tmp_path, 10, "a) S (b c", "R")
    assert [(each.name, each.state) for each in UnitProcesses(UNIT, str(tmp_path)).look()] == [("a) S (b c", "R")]


def test_reads_this_machine() -> None:
    """The kernel's own files: this process runs, so it is seen, with processor time and as running."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = next(line.rpartition("/")[2] for line in lines)
    processes = UnitProcesses(own)
    processes._known = [os.getpid()]  # the container's cgroup may be `/`, which names no unit
    found = next(processes._read([os.getpid()]))
    assert found.wants_processor
    assert found.cpu_s > 0
