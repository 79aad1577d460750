"""A real watcher of an engine on loopback, for tests; its engine's processes are files of a made /proc."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.files import write_atomically
from core.paths import CHECKOUT
from tests.doubles.engine import ENGINE_KEY
from tests.gateways import ADDRESS, DEADLINE_S, free_port, wait_for

PYTHON = "/usr/bin/python3"
"""As on a host: without the packages of this project's environment."""
UNIT = "vllm.service"
FRONT, CORE = 10, 11


def put(proc: Path, pid: int, name: str, *states: str, cgroup: str = f"0::/{UNIT}", ticks: int = 0) -> None:
    """Put a process with one thread for each state into a made /proc, where no reader sees half of a file."""
    for number, state in enumerate(states):
        folder = proc / str(pid) / "task" / str(pid + number)
        folder.mkdir(parents=True, exist_ok=True)
        fields = [state, "1", *["0"] * 9, str(ticks), "50", *["0"] * 6, str(1000 + pid), *["0"] * 20]
        write_atomically(folder / "stat", f"{pid + number} ({name}) {' '.join(fields)}\n")
    write_atomically(proc / str(pid) / "stat", (proc / str(pid) / "task" / str(pid) / "stat").read_text())
    write_atomically(proc / str(pid) / "cgroup", cgroup + "\n")


@dataclass
class RunningWatch:
    """The watcher's process, and what it looks at."""

    folder: Path
    agent_port: int
    metrics_port: int
    process: "subprocess.Popen[bytes]"

    def core_is(self, state: str, ticks: int = 0) -> None:
        """Change the state of the engine's core, as a signal would, and its processor time."""
        put(self.folder / "proc", CORE, "VLLM::EngineCor", state, ticks=ticks)

    def engine_starts_again(self) -> None:
        """Give the engine new processes."""
        for pid in (FRONT, CORE):
            (self.folder / "proc" / str(pid)).rename(self.folder / f"ended-{pid}")
        put(self.folder / "proc", FRONT + 10, "python3", "S")
        put(self.folder / "proc", CORE + 10, "VLLM::EngineCor", "S")

    def metrics(self) -> str:
        """Return the watcher's own metrics."""
        with urllib.request.urlopen(f"http://{ADDRESS}:{self.metrics_port}/metrics") as answer:
            text: str = answer.read().decode()
            return text

    def answers(self) -> bool:
        """Return whether the watcher has looked once."""
        try:
            return bool(self.metrics())
        except OSError:
            return False


@contextmanager
def running_watch(folder: Path, engine_port: int, *adapters: str, **settings: Any) -> Iterator[RunningWatch]:
    """Run a watcher of the engine at `engine_port`; `settings` differ from those of a host."""
    folder.mkdir(exist_ok=True)
    put(folder / "proc", FRONT, "python3", "S")
    put(folder / "proc", CORE, "VLLM::EngineCor", "S")
    (folder / "adapters.json").write_text(json.dumps(adapters))
    values = {
        "engine": "vllm",
        "unit": UNIT,
        "port": engine_port,
        "base": "tiny",
        "burning_s": 60,
        "agent_address": ADDRESS,
        "agent_port": free_port(),
        "metrics_port": free_port(),
        "adapters_file": f"{folder}/adapters.json",
        "notice_dir": str(folder),
        "runtime_dir": str(folder),
        "proc": f"{folder}/proc",
        **settings,
    }
    (folder / "settings.json").write_text(json.dumps(values))
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [PYTHON, "-m", "services.engine_watch", f"{folder}/settings.json"],
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "VLLM_API_KEY": ENGINE_KEY, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
        )
    watch = RunningWatch(folder, values["agent_port"], values["metrics_port"], process)
    try:
        wait_for(lambda: process.poll() is not None or watch.answers(), "the watcher")
        assert process.poll() is None, (folder / "log").read_text()
        yield watch
    finally:
        process.kill()
        process.wait(DEADLINE_S)
