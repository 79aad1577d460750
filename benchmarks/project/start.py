"""Time to the first line of each command: so long a person looks at an empty screen.

    python -m benchmarks.project.start [--rounds N]

Every command runs to its end and changes nothing: it names a stack that does not exist, or only prints. The commands
take turns, so that a busy machine slows all of them alike. The goals hold for two idle cores; a command meets its goal
when its fastest round does.

`imports after` is what the command imports after its first line, in one round of its own. Imports at the top of a file
come before that line. A late import stays in the code only where it saves 30 ms or more.

The second table has the seconds that a program with a cloud's SDK computes, with and without the garbage collector
(infra/automation/loading.py), for the SDKs that are installed.
"""

import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from core.arguments import Parser
from core.console import say, show
from core.errors import CheckError, run_cli
from core.paths import CHECKOUT
from core.runs import write_result

NO_STACK = "STACK=no-such-stack"
IMPORTED = "import time:"


@dataclass(frozen=True)
class Command:
    """A command, and the time limit for its first line."""

    typed: str
    goal_ms: int

    def argv(self) -> list[str]:
        """Return the command line; `python` stands for the interpreter that runs this file."""
        first, *others = self.typed.split()
        return [sys.executable if first == "python" else first, *others]


MAKE_GOAL_MS = 100
INFRA_GOAL_MS = 250
FAB_GOAL_MS = 700

COMMANDS = (
    Command("make help", MAKE_GOAL_MS),
    Command("make statsu", MAKE_GOAL_MS),
    Command("make status STAK=prod", MAKE_GOAL_MS),
    *(Command(f"make {name} {NO_STACK}", INFRA_GOAL_MS) for name in ("preflight", "preview", "up", "refresh", "down")),
    Command(f"make deploy-gpu {NO_STACK}", INFRA_GOAL_MS),
    *(
        Command(f"make {name} {NO_STACK}", FAB_GOAL_MS)
        for name in ("plan", "provision", "smoke", "status", "adapters", "logs", "restart", "bundle")
    ),
    Command("make adopt HOST=nobody@host.invalid INVENTORY=/no-such-folder/host.yaml", FAB_GOAL_MS),
    Command("python -m provisioning --list", FAB_GOAL_MS),
)


SDKS = {"pulumi_aws": "ec2", "pulumi_gcp": "compute"}
"""An SDK, and the largest module of it that the program imports."""

LOAD = {
    "without garbage collection": "import infra.automation.loading as _\nwith _.no_garbage():\n import {sdk}.{module}",
    "with garbage collection": "import {sdk}.{module}",
}


@dataclass
class Times:
    """Milliseconds of one command, a figure per round."""

    first_line: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)
    imports_after: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Time all commands and print a table. Return 1 if the fastest round of one of them misses its goal."""
    parser = Parser(prog="python -m benchmarks.project.start", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each command runs")
    options = parser.parse_args(arguments)
    say(f"bench-start: {len(COMMANDS)} commands, {options.rounds} rounds")
    times = {command: Times() for command in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "LLM_DEPLOY_STATE": f"{folder}/state", "LLM_DEPLOY_RUNS": f"{folder}/runs"}
        for command, each in times.items():  # this round also fills the caches of files and compiled modules
            each.imports_after = imports_after(command.argv(), environment)
        for _ in range(options.rounds):
            for command, each in times.items():
                first_line, end = run(command.argv(), environment)
                each.first_line.append(first_line)
                each.end.append(end)
    show(table(times))
    for line in sdk_table(options.rounds):
        show(line)
    write_result("bench-start", "start.json", result(times))
    missed = [command.typed for command, each in times.items() if min(each.first_line) > command.goal_ms]
    say(f"  {len(missed)} of {len(COMMANDS)} commands miss their goal; load {os.getloadavg()[0]:.1f}")
    return 1 if missed else 0


def run(argv: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Return the milliseconds to the first line of a command, and to its end."""
    start = time.perf_counter()
    with subprocess.Popen(
        argv, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        line = process.stdout.readline() if process.stdout else b""
        first_line = time.perf_counter() - start
        process.communicate()
    if not line.strip():
        raise CheckError("printed nothing", where=" ".join(argv))
    return first_line * 1000, (time.perf_counter() - start) * 1000


def imports_after(argv: Sequence[str], environment: Mapping[str, str]) -> float:
    """Return the milliseconds that a command spends on imports after its first line."""
    profiled = {**environment, "PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run(
        argv, cwd=CHECKOUT, env=profiled, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return import_ms_after_first_line(done.stderr.splitlines())


def import_ms_after_first_line(lines: Sequence[str]) -> float:
    """Return the sum of the `self` times of Python's -X importtime below the first line of another kind.

    A line is `import time: self [us] | cumulative | name`.
    """
    words = [number for number, line in enumerate(lines) if not line.startswith(IMPORTED)]
    below = lines[words[0] :] if words else []
    numbers = [line.removeprefix(IMPORTED).partition("|")[0].strip() for line in below if line.startswith(IMPORTED)]
    return sum(int(number) for number in numbers if number.isdigit()) / 1000


def table(times: Mapping[Command, Times]) -> str:
    """Return the figures as text, a line per command."""
    width = max(len(command.typed) for command in (*times, Command("milliseconds", 0)))
    lines = [f"{'milliseconds':{width}}   goal    min median    end  imports after"]
    for command, each in times.items():
        missed = " !" if min(each.first_line) > command.goal_ms else ""
        lines.append(
            f"{command.typed:{width}} {command.goal_ms:6} {min(each.first_line):6.0f}"
            f" {statistics.median(each.first_line):6.0f} {statistics.median(each.end):6.0f}"
            f" {each.imports_after:14.0f}{missed}"
        )
    return "\n".join(lines)


def sdk_table(rounds: int) -> Iterator[str]:
    """Yield a line for each installed SDK and each way to load it: the least seconds that the process computes."""
    for sdk, module in SDKS.items():
        if importlib.util.find_spec(sdk) is None:
            continue
        for way, code in LOAD.items():
            least = min(computed_s([sys.executable, "-c", code.format(sdk=sdk, module=module)]) for _ in range(rounds))
            yield f"{sdk} {way}: {least:.2f} s"


def computed_s(argv: Sequence[str]) -> float:
    """Return the seconds that a process computes, from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, cwd=CHECKOUT, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def result(times: Mapping[Command, Times]) -> dict[str, object]:
    """Return the figures as JSON values."""
    return {
        command.typed: {
            "goal_ms": command.goal_ms,
            "first_line_ms": [round(value) for value in each.first_line],
            "end_ms": [round(value) for value in each.end],
            "imports_after_ms": round(each.imports_after),
        }
        for command, each in times.items()
    }


if __name__ == "__main__":
    sys.exit(run_cli(main))
