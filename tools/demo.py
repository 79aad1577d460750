"""The demo: create a machine on this host, provision it, test its endpoint, and remove it.

Runs the commands of the Makefile's targets, each in its own process, and adds up their times. If a step fails,
everything stays for inspection until `make down STACK=…`. Never removes a stack that was not created by a demo, or that
a demo kept.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.arguments import Parser
from core.console import ONCE_VARIABLE, next_command, say
from core.errors import DeployError, UsageError, run_cli, when_interrupted
from core.interrupts import Terminated
from core.paths import CHECKOUT, outputs_file, runs_dir
from core.runs import RUN_VARIABLE, run_name, write_result
from tools import cold_demo
from tools.pool_overflow import as_typed, copy_with_provider

STACK_OF = {"vllm": "local", "ollama": "local-ollama"}
"""Engine and the stack that serves with it."""

POOL = "local-pool"
"""The stack with a gateway's machine in front of two engines' machines."""

WAITED_FOR = ("venv:", "command:uv", "packages:", "unit:vllm.service", "unit:ollama.service")
"""Resources that spend their time on package installs and model load, not in this project's code."""

NOTE = "demo.json"
"""File in a run's folder. It marks the run of a demo, and says whether the demo keeps the stack."""

ONCE_NOTE = "once.jsonl"
"""File in the same folder: steps that this machine needs once, such as fetching the Pulumi CLI."""


@dataclass(frozen=True)
class Stop:
    """One stop of the tour: its title and the command, as a user would type it and as it runs."""

    title: str
    typed: str
    argv: tuple[str, ...]


def tour(stack: str, *, keep: bool, reboot: bool, pool: bool = False) -> list[Stop]:
    """Return the stops of the tour for `stack`, in order."""
    python = str(CHECKOUT / ".venv/bin/python")
    fab = (python, "-m", "provisioning")
    on, where = ("--stack", stack), f"STACK={stack}"
    # Where the provider of a pool's demo is known.
    there, known = on, where
    if pool:
        with_provider = as_typed(copy_with_provider(stack))
        there, known = ("--inventory", with_provider), f"INVENTORY={shlex.quote(with_provider)}"

    def part(title: str, name: str) -> Stop:
        argv = (python, "-m", "tools.pool_demo", name, *on)
        return Stop(title, f"python -m tools.pool_demo {name} --stack {stack}", argv)

    up = (f"make up {where}", (python, "-m", "infra.lifecycle.commands", "up", *on))
    smoke = (f"make smoke {where}", (*fab, "smoke", *on))
    stops = [Stop("Pulumi makes the machine", *up)]
    if pool:
        stops.append(part("A provider joins", "provider"))
    stops += [
        Stop("Fabric turns it into a server", f"make provision {known}", (*fab, "provision", *there)),
        Stop("The endpoint is proved", *smoke),
        Stop("A second run changes nothing", f"make plan {known}", (*fab, "plan", *there)),
    ]
    if pool:
        stops += [
            part("A machine dies under load", "die"),
            Stop("Pulumi starts it again", *up),
            part("It is back behind the gateway", "back"),
            Stop("The endpoint is proved again", *smoke),
            Stop("What the provider cost", f"make spend {known}", (*fab, "spend", *there)),
            part("Which alerts fired", "alerts"),
        ]
    if reboot:
        stops += [
            Stop("The machine reboots", f"make reboot {where}", (*fab, "reboot", *on)),
            Stop("It still works", *smoke),
        ]
    if not keep:
        stops.append(
            Stop(
                "Everything is removed",
                f"make down {where}",
                (python, "-m", "infra.lifecycle.commands", "down", *on),
            )
        )
    return stops


def walk(stack: str, stops: Sequence[Stop], environment: dict[str, str]) -> list[float]:
    """Run each stop of the tour for `stack` and return its seconds.

    Raises DeployError at the first stop that fails, and KeyboardInterrupt if Ctrl-C ended one.
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
                hint=f"look at it with `make logs STACK={stack}`, run the same command again, "
                f"or remove it with `make down STACK={stack}`",
            )
    return seconds


def _run(argv: Sequence[str], environment: dict[str, str]) -> int:
    """Return the exit status of a command.

    The terminal sends Ctrl-C to it, too; SIGTERM is passed on. Raises KeyboardInterrupt after it has ended.
    """
    interrupt: KeyboardInterrupt | None = None
    with subprocess.Popen(argv, cwd=CHECKOUT, env=environment) as process:
        while process.returncode is None:
            try:
                process.wait()
            except KeyboardInterrupt as error:
                interrupt = error
                if isinstance(error, Terminated):  # only this process received SIGTERM
                    process.terminate()
    if interrupt is not None:
        raise interrupt
    return process.returncode


def is_anothers(stack: str) -> bool:
    """Return whether `stack` exists and does not come from a demo that failed or was interrupted.

    The folder of the stack's last `up` shows it: the folder of a demo contains its NOTE.
    """
    if not outputs_file(stack).exists():
        return False
    ups = {path.resolve() for path in (runs_dir() / stack).glob("*/up.json")}
    note = max(ups, key=lambda path: path.parent.name).with_name(NOTE) if ups else None
    return note is None or not note.exists() or bool(json.loads(note.read_text())["kept"])


def how_to_ask(stack: str) -> str:
    """Return the endpoint of the kept `stack`, and a bash command that calls it without the API key in an argument."""
    endpoint = json.loads(outputs_file(stack).with_name("endpoint.json").read_text())
    url, ca, keys, client = (endpoint[name] for name in ("url", "ca", "keys_file", "client"))
    header = f'import json; print("Authorization: Bearer", json.load(open({json.dumps(keys)}))[{json.dumps(client)}])'
    trust = f"--cacert {shlex.quote(ca)} " if ca else ""
    asked = {"model": [*endpoint["adapters"], *endpoint["models"]][0], "prompt": "Hello", "max_tokens": 8}
    return (
        f"  URL      {url}/v1\n"
        f"  API key  {client} in {keys}\n"
        f"  CA       {ca or 'one that your system knows'}\n"
        f"  models   {', '.join(endpoint['models'])}\n\n"
        f"  curl {trust}{url}/v1/completions -H 'Content-Type: application/json' \\\n"
        f"    -H @<(python3 -c {shlex.quote(header)}) \\\n"
        f"    -d {shlex.quote(json.dumps(asked))}\n"
    )


def waited_seconds(provision: Path) -> float:
    """Return the seconds that a run spent on package installs and model load. `provision` is its provision.json.

    Hosts install at the same time, so the longest of them counts.
    """
    hosts = json.loads(provision.read_text())["hosts"]
    changes = (host["change_seconds"].items() for host in hosts)
    waited = (float(sum(s for resource, s in each if resource.startswith(WAITED_FOR))) for each in changes)
    return max(waited, default=0.0)


def once_steps(file: Path) -> list[tuple[str, float]]:
    """Return title and seconds of the steps that this machine needs once; `core.console.step` wrote them to `file`."""
    if not file.exists():
        return []
    return [(title, float(seconds)) for title, seconds in map(json.loads, file.read_text().splitlines())]


def _show_costs(
    stops: Sequence[Stop], seconds: Sequence[float], waited: float, once: Sequence[tuple[str, float]]
) -> None:
    """Print the seconds of each stop, of the steps that this machine needs once, and of this project's own code."""
    total, only_once = sum(seconds), sum(took for _, took in once)
    say("\n━━ The tour")
    for stop, took in zip(stops, seconds, strict=True):
        say(f"  {took:7.1f} s  {stop.title:<32} {stop.typed}")
    for title, took in once:
        say(f"  {took:7.1f} s  of it once on this machine: {title}")
    set_up = f"{only_once:.1f} s of set-up that is needed once, " if once else ""
    own = total - waited - only_once
    say(f"  {total:7.1f} s  in all: {set_up}{waited:.1f} s of package installs and model load, {own:.1f} s our own")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tour and print its times."""
    parser = Parser(prog="make demo", description=__doc__)
    parser.add_argument("--engine", choices=STACK_OF, default="vllm", help="the engine that serves")
    parser.add_argument("--stack", help="another stack")
    parser.add_argument("--keep", action="store_true", help="leave the machine running at the end")
    parser.add_argument(
        "--reboot", action="store_true", help="also reboot the machine and prove it again (a second model load)"
    )
    parser.add_argument(
        "--pool", action="store_true", help="a gateway's machine and two engines' machines, one of which dies"
    )
    parser.add_argument(
        "--cold", action="store_true", help="run in a copy of this checkout with empty caches, as on a fresh machine"
    )
    options = parser.parse_args(arguments)
    if options.cold:
        if options.keep or options.stack or options.pool:
            raise UsageError(
                "--cold removes its copy at the end, so it does not support --keep, --stack and --pool",
                where="demo",
                hint="remove those options",
            )
        return cold_demo.run(options.engine, ["--reboot"] if options.reboot else [])

    stack = options.stack or (POOL if options.pool else STACK_OF[options.engine])
    anothers = is_anothers(stack)
    if anothers and not options.keep:
        raise UsageError(
            f"stack {stack} exists, and the demo would remove it at the end",
            where="demo",
            hint=f"run `make down STACK={stack}` first, or keep the stack with ARGS=--keep",
        )
    run = os.environ.setdefault(RUN_VARIABLE, run_name())
    end = "kept" if options.keep else "removed"
    machines = "three machines" if options.pool else "one machine"
    say(f"demo: {machines} (stack {stack}) made, provisioned, proved and {end}; results in runs/{stack}/{run}")
    once_file = write_result(stack, NOTE, {"ok": False, "kept": anothers}).with_name(ONCE_NOTE)
    stops = tour(stack, keep=options.keep, reboot=options.reboot, pool=options.pool)
    with when_interrupted(f"`make down STACK={stack}` to undo"):
        seconds = walk(stack, stops, os.environ | {ONCE_VARIABLE: str(once_file)})
    write_result(stack, NOTE, {"ok": True, "kept": options.keep, "seconds": seconds})
    waited = waited_seconds(once_file.with_name("provision.json"))
    _show_costs(stops, seconds, waited, once_steps(once_file))
    if options.keep:
        say(f"\n━━ It stays\n{how_to_ask(stack)}")
        if options.pool:
            say(f"the provider has ended; `make provision STACK={stack}` removes it from the gateway\n")
        next_command(f"make status STACK={stack}", f"make down STACK={stack}")
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
