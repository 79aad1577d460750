"""The main job on this one machine, told as a tour: make it, provision it, ask it, prove it, remove it.

Runs the same commands as the Makefile's targets, each as a process of its own, and adds up what they cost. Leaves
everything in place when a step fails, so that it can be looked at; `make down STACK=…` removes it.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.arguments import Parser
from core.console import say
from core.errors import DeployError, run_cli, when_interrupted
from core.paths import CHECKOUT, runs_dir
from core.runs import RUN_VARIABLE, run_name

STACK_OF = {"vllm": "local", "ollama": "local-ollama"}
"""The stack that shows an engine."""

WAITED_FOR = ("venv:", "packages:", "unit:vllm.service", "unit:ollama.service")
"""Resources whose time is spent in package installs and in loading the model, not in our own code."""


@dataclass(frozen=True)
class Stop:
    """One stop of the tour: its title and the command, as a user would type it and as it runs."""

    title: str
    typed: str
    argv: tuple[str, ...]


def tour(stack: str, *, keep: bool, reboot: bool) -> list[Stop]:
    """Return the stops of the tour for `stack`, in order."""
    python = str(CHECKOUT / ".venv/bin/python")
    fab = (str(CHECKOUT / ".venv/bin/fab"), "-r", str(CHECKOUT / "provisioning"))
    on = ("--stack", stack)
    smoke = (*fab, "smoke", *on)
    stops = [
        Stop("Pulumi makes the machine", f"make up STACK={stack}", (python, "-m", "infra.commands", "up", *on)),
        Stop("Fabric turns it into a server", f"make provision STACK={stack}", (*fab, "provision", *on)),
        Stop("The endpoint is proved", f"make smoke STACK={stack}", smoke),
        Stop("Nothing is left to change", f"make plan STACK={stack}", (*fab, "plan", *on)),
    ]
    if reboot:
        stops += [
            Stop("The machine reboots", f"make reboot STACK={stack}", (*fab, "reboot", *on)),
            Stop("All of it still holds", f"make smoke STACK={stack}", smoke),
        ]
    if not keep:
        stops.append(Stop("Nothing is left", f"make down STACK={stack}", (python, "-m", "infra.commands", "down", *on)))
    return stops


def walk(stack: str, stops: Sequence[Stop], environment: dict[str, str]) -> list[float]:
    """Run each stop of the tour for `stack`; return the seconds each took.

    Raises DeployError at the first that fails, and KeyboardInterrupt after one that Ctrl-C ended.
    """
    seconds = []
    for number, stop in enumerate(stops, start=1):
        say(f"\n━━ {number}/{len(stops)}  {stop.title}   $ {stop.typed}")
        start = time.monotonic()
        status = _run(stop.argv, environment)
        seconds.append(time.monotonic() - start)
        if status:
            raise DeployError(
                f"{stop.typed} ended with status {status}",
                where=f"demo, stop {number} of {len(stops)}",
                hint=f"all is left in place: see `make logs STACK={stack}`, run the same command again, "
                f"or remove it with `make down STACK={stack}`",
            )
    return seconds


def _run(argv: Sequence[str], environment: dict[str, str]) -> int:
    """Return the exit status of a command.

    Ctrl-C reaches it too, and it is left the time that it takes to end; KeyboardInterrupt follows only then.
    """
    interrupt: KeyboardInterrupt | None = None
    with subprocess.Popen(argv, cwd=CHECKOUT, env=environment) as process:
        while process.returncode is None:
            try:
                process.wait()
            except KeyboardInterrupt as error:
                interrupt = error
    if interrupt is not None:
        raise interrupt
    return process.returncode


def waited_seconds(provision: Path) -> float:
    """Return the seconds that the run in `provision` (a provision.json) spent on installs and on loading the model."""
    hosts = json.loads(provision.read_text())["hosts"]
    return float(
        sum(
            seconds
            for host in hosts
            for resource, seconds in host["change_seconds"].items()
            if resource.startswith(WAITED_FOR)
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Walk the tour and print what it cost."""
    parser = Parser(prog="make demo", description=__doc__)
    parser.add_argument("--engine", choices=STACK_OF, default="vllm", help="the engine that serves")
    parser.add_argument("--stack", help="another stack than the engine's own")
    parser.add_argument("--keep", action="store_true", help="leave the machine running at the end")
    parser.add_argument(
        "--reboot", action="store_true", help="also reboot the machine and prove it again (a second model load)"
    )
    options = parser.parse_args(arguments)

    stack = options.stack or STACK_OF[options.engine]
    run = os.environ.get(RUN_VARIABLE) or run_name()
    end = "kept" if options.keep else "removed"
    say(f"demo: one machine made, provisioned, proved and {end}; results in runs/{stack}/{run}")
    stops = tour(stack, keep=options.keep, reboot=options.reboot)
    with when_interrupted(f"`make down STACK={stack}` to undo"):
        seconds = walk(stack, stops, {**os.environ, RUN_VARIABLE: run})

    total = sum(seconds)
    waited = waited_seconds(runs_dir() / stack / run / "provision.json")
    say("\n━━ The tour")
    for stop, took in zip(stops, seconds, strict=True):
        say(f"  {took:7.1f} s  {stop.title:<32} {stop.typed}")
    say(f"  {total:7.1f} s  in all: {waited:.1f} s of package installs and model load, {total - waited:.1f} s our own")
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
