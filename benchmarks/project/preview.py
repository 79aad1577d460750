"""How much time our program adds to a preview against a simulated cloud, compared with an empty program.

    python -m benchmarks.project.preview [--rounds N] [--stack NAME]

The two previews take turns, so that a busy machine slows both alike. The goal is GOAL_S on two cores.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from core.arguments import Parser
from core.console import say
from core.errors import DeployError, UsageError, run_cli
from core.paths import CHECKOUT
from infra.automation.backend import PROJECT
from infra.automation.cli_environment import ALWAYS
from infra.clouds.registry import cloud_of
from infra.config import load_stack
from infra.contract.stack_placement import PLACEMENT_VARIABLE
from tools.pulumi.cli import find_cli

GOAL_S = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Time both previews and print the figures as JSON."""
    parser = Parser(prog="python -m benchmarks.project.preview", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="number of runs of each preview")
    parser.add_argument("--stack", default="aws-gpu", help="a stack on AWS or GCP")
    options = parser.parse_args(arguments)
    say(f"bench-preview: {options.rounds} rounds of an empty program and of stack {options.stack}")
    config = load_stack(options.stack)
    with tempfile.TemporaryDirectory() as name, _running(config.cloud, Path(name)) as cloud:
        environ = find_cli().environment() | cloud | ALWAYS | {"PULUMI_CONFIG_PASSPHRASE": "x"}
        environ |= {"PULUMI_BACKEND_URL": f"file://{name}", "LLM_DEPLOY_STATE": f"{name}/state"}
        os.environ |= cloud
        (first, *_rest) = cloud_of(config.cloud).candidates(config, None)
        environ[PLACEMENT_VARIABLE] = first.placement.model_dump_json()
        empty = _empty_project(Path(name) / "empty", "empty", "empty", environ)
        _empty_project(
            Path(name) / "ours", PROJECT, options.stack, environ
        )  # the Pulumi engine writes the salt here, not into our stack file
        whole = _config_file(Path(name), options.stack)
        rounds = [
            (_seconds("empty", empty, None, environ), _seconds(options.stack, CHECKOUT, whole, environ))
            for _each in range(options.rounds)
        ]
    share = statistics.median(ours.wall_s - empty.wall_s for empty, ours in rounds)
    cpu = statistics.median(ours.cpu_s - empty.cpu_s for empty, ours in rounds)
    figures = {"own_share_s": round(share, 2), "own_cpu_s": round(cpu, 2), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps(figures | {"rounds": [[asdict(empty), asdict(ours)] for empty, ours in rounds]}))
    say(f"  the program's own share is {share:.2f} s, of which {cpu:.2f} s computing; the goal is {GOAL_S:g} s")
    return 0 if share < GOAL_S else 1


@contextmanager
def _running(cloud: str, folder: Path) -> Iterator[dict[str, str]]:
    """Run the simulated cloud of a stack; yield the variables that point to it."""
    if cloud == "aws":
        from tests.doubles.aws.running import running_aws

        with running_aws(folder / "cache") as aws:
            yield aws.environ()
    elif cloud == "gcp":
        from tests.doubles.gcp.running import running_gcp

        (folder / "gcp").mkdir()
        with running_gcp(folder / "gcp") as gcp:
            yield gcp.environ()
    else:
        raise UsageError(f"there is no simulation of cloud {cloud}", where="--stack", hint="name a stack on AWS or GCP")


def _empty_project(folder: Path, name: str, stack: str, environ: dict[str, str]) -> Path:
    """Create a project with an empty program and a stack; it uses the same language host and environment as ours."""
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text(f"name: {name}\nruntime: python\n")
    (folder / "__main__.py").write_text("import pulumi\n")
    init = [str(find_cli().program), "--non-interactive", "stack", "init", stack]
    subprocess.run(init, cwd=folder, env=environ, capture_output=True, check=True)
    return folder


def _config_file(folder: Path, stack: str) -> Path:
    """Return a copy of the stack file: the Pulumi engine writes the salt into it."""
    copy = folder / f"Pulumi.{stack}.yaml"
    copy.write_bytes((CHECKOUT / "stacks" / copy.name).read_bytes())
    return copy


@dataclass(frozen=True)
class Taken:
    """Times of one preview, from start to end of the CLI. CPU time includes the language host and the program."""

    wall_s: float
    cpu_s: float


def _seconds(stack: str, project: Path, config: Path | None, environ: dict[str, str]) -> Taken:
    """Run a preview and return its times."""
    cli = [str(find_cli().program), "--non-interactive"]
    file = ["--config-file", str(config)] if config else []
    start, before = time.monotonic(), _computed()
    done = subprocess.run(
        [*cli, "preview", "--stack", stack, *file],
        cwd=project,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    taken = Taken(round(time.monotonic() - start, 3), round(_computed() - before, 3))
    if done.returncode:
        raise DeployError("failed", where=f"preview of {stack}", detail=done.stdout + done.stderr)
    return taken


def _computed() -> float:
    """Return the CPU seconds of this process's children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(run_cli(main))
