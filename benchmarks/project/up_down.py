"""Times of `preview`, `up` and `down`, phase by phase, against the simulated AWS.

    python -m benchmarks.project.up_down [--rounds N] [--stack NAME]

The phases are the steps that the commands print. The time before, between and after the steps counts as `the command
itself`. The simulation answers at once, so the figures have our time and the Pulumi engine's, but not that of AWS.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from core.arguments import Parser
from core.console import say
from core.errors import DeployError, run_cli
from tests.doubles.aws.running import running_aws
from tests.engine.checkout import copy_checkout

COMMANDS = (("preview", "preview"), ("up", "up"), ("up, nothing to change", "up"), ("down", "down"))
"""Title in the table, and the command."""

STEP_ENDED = re.compile(r"^✓ (?P<phase>.+): (?P<seconds>\d+\.\d) s$", re.MULTILINE)
THE_REST = "the command itself"

Phases = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Time `preview`, `up` and `down` of a stack, and print the figures as JSON."""
    parser = Parser(prog="python -m benchmarks.project.up_down", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often the stack is created and removed")
    parser.add_argument("--stack", default="aws-gpu", help="a stack on AWS")
    options = parser.parse_args(arguments)
    say(f"bench-up-down: create and remove stack {options.stack}, {options.rounds} times")
    with tempfile.TemporaryDirectory() as name, running_aws(Path(name) / "cache") as aws:
        own = {"LLM_DEPLOY_STATE": f"{name}/state", "LLM_DEPLOY_RUNS": f"{name}/runs", "PULUMI_CREDENTIALS_PATH": name}
        folder = Path(name) / "copy"
        copy_checkout(folder)  # the stack files of the simulation have addresses that pass preflight
        environ = os.environ | aws.environ() | own | {"PYTHONPATH": str(folder)}
        rounds = [
            {title: _phases(folder, command, options.stack, environ) for title, command in COMMANDS}
            for _each in range(options.rounds)
        ]
    medians = {title: _median([each[title] for each in rounds]) for title, _command in COMMANDS}
    print(json.dumps({"seconds": medians, "load": round(os.getloadavg()[0], 1), "rounds": rounds}))
    for title, phases in medians.items():
        say(f"  {title}: {sum(phases.values()):.1f} s")
        for phase, seconds in phases.items():
            say(f"    {seconds:5.1f} s  {phase}")
    return 0


def _phases(folder: Path, command: str, stack: str, environ: dict[str, str]) -> Phases:
    """Run a command and return the seconds of each step. Raises DeployError if it fails."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "infra.lifecycle.commands", command, "--stack", stack],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    whole = time.monotonic() - start
    if done.returncode:
        raise DeployError("failed", where=f"{command} of {stack}", detail=done.stderr)
    phases = {each["phase"]: float(each["seconds"]) for each in STEP_ENDED.finditer(done.stderr)}
    return phases | {THE_REST: round(whole - sum(phases.values()), 1)}


def _median(rounds: Sequence[Phases]) -> Phases:
    """Return the median of each phase's seconds, in the order of the phases."""
    return {phase: round(statistics.median(each[phase] for each in rounds), 1) for phase in rounds[0]}


if __name__ == "__main__":
    sys.exit(run_cli(main))
