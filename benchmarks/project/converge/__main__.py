"""Time the tools on one machine, with nothing to change and with one file to restore, both nearby and 100 ms away.

Each figure is the median of whole processes, as the shell sees them. After each run the host is checked over plain ssh.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.project.converge.bench_host import STACK, bench_host, prepare, spoil
from benchmarks.project.converge.check import check
from benchmarks.project.converge.compared_tools import LOCKS, OURS, TOOLS, Tool, ssh_argv, version
from benchmarks.project.converge.delay_proxy import DelayProxy
from benchmarks.project.converge.goals import verdicts
from benchmarks.project.converge.phases import phase_costs, read_phases
from benchmarks.project.environments import environment
from core.arguments import Parser
from core.console import say, step
from core.errors import CheckError, run_cli
from core.runs import write_result
from infra.contract.outputs import HostRecord

FAR_S = 0.1
TIMEOUT_S = 300
FLOOR = "ssh host true"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One situation to measure: how far the host is, and whether a file is changed before each run."""

    name: str
    far: bool
    drift: bool


SCENES = (
    Scene(name="nothing to change", far=False, drift=False),
    Scene(name="one file to restore", far=False, drift=True),
    Scene(name="nothing to change, 100 ms", far=True, drift=False),
    Scene(name="one file to restore, 100 ms", far=True, drift=True),
)


@dataclass
class Bench:
    """The machine, directly and behind the delay, and the measurements on it."""

    near: HostRecord
    far: HostRecord
    folder: Path
    runs: int
    scenes: Sequence[Scene]
    table: dict[str, dict[str, float]] = field(default_factory=dict)
    """Median seconds by scene and tool."""
    all_runs: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Each run's seconds by scene and tool. On a busy machine, compare the shortest."""
    ours: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    """Our own runs nearby with nothing to change: seconds of the whole process, and the host's part of
    provision.json."""

    def measure(self) -> None:
        """Run each tool once, then time them in turns, so that a busy machine slows all of them alike."""
        ssh = ssh_argv(self.near, self.folder)
        for tool in TOOLS:
            with step(f"{tool.name}: first run"):
                self._timed(tool, self.near)
                check(ssh, tool.name)
        for scene in self.scenes:
            with step(scene.name):
                self.table[scene.name] = self._scene(scene, ssh)
            say(_table(self, [scene.name]))  # an interrupted benchmark has then printed its results so far

    def _scene(self, scene: Scene, ssh: Sequence[str]) -> dict[str, float]:
        host = self.far if scene.far else self.near
        seconds: dict[str, list[float]] = {FLOOR: []}
        for _ in range(self.runs):
            seconds[FLOOR].append(_seconds([*ssh_argv(host, self.folder), "true"], {}, FLOOR))
            for tool in TOOLS:
                if scene.drift:
                    spoil(ssh)
                seconds.setdefault(tool.name, []).append(self._timed(tool, host))
                check(ssh, tool.name)
                if tool is OURS and not scene.far and not scene.drift:
                    self.ours.append((seconds[OURS.name][-1], read_phases(self.folder)))
        self.all_runs[scene.name] = seconds
        return {name: statistics.median(values) for name, values in seconds.items()}

    def _timed(self, tool: Tool, host: HostRecord) -> float:
        run = tool.run(host, self.folder)
        taken = _seconds(run.argv, run.env, tool.name)
        if tool.end is not None:
            end = tool.end(host, self.folder)
            subprocess.run(end.argv, capture_output=True, check=False, timeout=TIMEOUT_S)
        return taken


def _seconds(argv: Sequence[str], env: dict[str, str], name: str) -> float:
    """Run a process and return its seconds. Raises CheckError if it fails."""
    began = time.perf_counter()
    done = subprocess.run(argv, env=os.environ | env, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    taken = time.perf_counter() - began
    if done.returncode != 0:
        raise CheckError(f"{name} ended with status {done.returncode}", detail=done.stdout + done.stderr)
    return taken


def _as_text(bench: Bench, costs: dict[str, float]) -> str:
    """Return the tables for a person: all scenes, then the phases of our own runs."""
    lines = [
        _table(bench, [scene.name for scene in bench.scenes]),
        "",
        "time of our own run by phase, nothing to change",
    ]
    lines += [f"  {name:46}{seconds * 1000:7.0f} ms" for name, seconds in costs.items()]
    return "\n".join(lines)


def _table(bench: Bench, scenes: Sequence[str]) -> str:
    """Return the medians of `scenes` in seconds, and how many times slower than ours each tool was."""
    lines = [f"{'seconds, median of whole processes':36}" + "".join(f"{scene:>28}" for scene in scenes)]
    for name in (FLOOR, *(tool.name for tool in TOOLS)):
        cells = ""
        for scene in scenes:
            taken, ours = bench.table[scene][name], bench.table[scene][OURS.name]
            cells += f"{taken:19.2f}" + (f" {taken / ours:6.1f} x" if name not in (FLOOR, OURS.name) else " " * 9)
        lines.append(f"{name:36}{cells}")
    return "\n".join(lines)


def main() -> int:
    """Measure, print the tables on stdout and write the result; return 1 if a goal is missed."""
    parser = Parser(prog="python -m benchmarks.project.converge", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs per figure (default: %(default)s)")
    parser.add_argument(
        "--near", action="store_true", help="measure without the 100 ms delay, which takes a third of the time"
    )
    options = parser.parse_args()
    scenes = [scene for scene in SCENES if not (options.near and scene.far)]
    with step("environments of pyinfra and Ansible"):
        environment(LOCKS / "pyinfra.txt")
        environment(LOCKS / "ansible.txt")
    with bench_host() as near, tempfile.TemporaryDirectory(prefix="bench") as scratch:
        proxy = DelayProxy((near.address, near.ssh_port), round_trip_s=FAR_S)
        with proxy.running():
            far = near.model_copy(update={"address": "127.0.0.1", "ssh_port": proxy.port})
            bench = Bench(near=near, far=far, folder=Path(scratch), runs=options.runs, scenes=scenes)
            prepare(ssh_argv(near, bench.folder))
            bench.measure()
    costs = phase_costs(bench.ours)
    judged = verdicts(bench.table)
    print(_as_text(bench, costs))
    print()
    print("\n".join(f"{'✓' if ok else '✗'} {text}" for ok, text in judged))
    result = {
        "ok": all(ok for ok, _ in judged),
        "runs": options.runs,
        "versions": {"pyinfra": version("pyinfra"), "ansible-core": version("ansible")},
        "seconds": bench.table,
        "all_runs": bench.all_runs,
        "phases": costs,
        "goals": {text: ok for ok, text in judged},
    }
    say(f"written to {write_result(STACK, 'converge.json', result)}")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(run_cli(main))
