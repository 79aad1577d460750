"""The Makefile's targets: the commands they would run, and what stops them. Nothing runs."""

import inspect
import re
import shlex
import subprocess

import pytest
from fabric import Task

from core.paths import CHECKOUT
from provisioning import fabfile
from provisioning.cli.fab_program import EXAMPLES
from tools.make_variables import USES


def dry_run(*arguments: str, **exported: str) -> subprocess.CompletedProcess[str]:
    """Return the commands that `make` would run. With `-n`, recipes that call make still run, and print only."""
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **exported}
    return subprocess.run(
        ["make", "-n", "-o", ".venv/.ready", *arguments],
        cwd=CHECKOUT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
@pytest.mark.parametrize("kind", ["cpu", "gpu", "gpu-spot"])
def test_deploy_is_up_provision_and_smoke_of_the_matching_stack(cloud: str, kind: str) -> None:
    done = dry_run(f"deploy-{kind}", f"CLOUD={cloud}")

    assert done.returncode == 0, done.stderr
    commands = [line.partition(" --stack ") for line in done.stdout.splitlines() if " --stack " in line]
    assert [command.split()[-1] for command, _word, _stack in commands] == [kind, "up", "provision", "smoke"]
    assert {stack.split()[0] for _command, _word, stack in commands} == {f"{cloud}-{kind}"}
    assert (CHECKOUT / "stacks" / f"Pulumi.{cloud}-{kind}.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "exported", "line"),
    [
        ("down prod", {}, "there is no target prod; run make for the list.  Stop."),
        (
            "down",
            {"HOST": "gpu2"},
            "down does not use HOST=gpu2 (exported by your shell: unset HOST); it uses STACK ARGS.",
        ),
        ("status STAK=it's$$HOME", {}, "status does not use STAK=it's$HOME; did you mean STACK?"),
        ("status CLOUD= INVENTORY=", {"CLOUD": "aws", "INVENTORY": "a.yaml", "STACK": "mine"}, ""),
        ("status up smoke HOST=gpu2", {}, "up does not use HOST=gpu2; it uses STACK ARGS."),
        ("status --no-print-directory --jobs=2 AWS_PROFILE=work", {}, ""),
    ],
)
def test_make_stops_before_anything_runs(arguments: str, exported: dict[str, str], line: str) -> None:
    """`make down prod` once destroyed the local stack before it failed. All rules: test_make_variables.py."""
    done = dry_run(*arguments.split(), **exported)

    assert (done.returncode, done.stdout == "") == ((2, True) if line else (0, False))
    assert line in done.stderr


def test_make_knows_the_variables_of_every_target() -> None:
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    phony = re.findall(r"TARGETS := ((?:.*\\\n)*.*)", makefile)[0].replace("\\\n", " ").split()
    assert re.findall(r"^([a-z-]+):[^=]", makefile, re.MULTILINE) == list(USES)
    assert set(phony) == set(USES)


FAB_TASKS = {
    task.name.replace("_", "-"): task
    for task in vars(fabfile).values()
    if isinstance(task, Task) and not task.name.startswith("adapters:")
}


@pytest.mark.parametrize("task", FAB_TASKS)
def test_a_target_uses_host_and_inventory_like_its_task(task: str) -> None:
    options = inspect.signature(FAB_TASKS[task].body).parameters
    needed = {"rotate-key": ["CLIENT=default"], "adopt": ["HOST=gpu2"]}.get(task, [])
    for word, option in {"HOST": "host", "INVENTORY": "inventory"}.items():
        done = dry_run(task, *needed, f"{word}=gpu2")
        assert (f"--{option} gpu2" in done.stdout.replace('"', "")) == (option in options)
        assert done.returncode == (0 if option in options else 2)


@pytest.mark.parametrize(
    ("arguments", "exported", "command"),
    [
        ("deploy-cpu", {}, "infra.lifecycle.commands up --stack local"),
        ("deploy-gpu STACK=mine", {}, "infra.lifecycle.commands up --stack mine"),
        ("deploy-gpu CLOUD=aws AWS_PROFILE=work", {}, "infra.lifecycle.commands up --stack aws-gpu"),
        ("down", {}, "infra.lifecycle.commands down --stack local"),
        ("status INVENTORY=hosts/rack.yaml", {}, "provisioning status --inventory hosts/rack.yaml"),
        ("status", {"INVENTORY": "hosts/rack.yaml"}, "provisioning status --inventory hosts/rack.yaml"),
        ("status CLOUD=", {"CLOUD": "aws", "STACK": "mine"}, "provisioning status --stack mine"),
        ("adapters", {}, "provisioning adapters:list --stack local"),
        ("adapters DO=promote ARGS=contract@4", {}, "provisioning adapters:promote --stack local contract@4"),
        ("orphans CLOUD=gcp", {"STACK": "mine", "HOST": "shell"}, "infra.lifecycle.orphans.command --cloud gcp"),
        ("leftovers CLOUD=gcp", {}, "is called make orphans CLOUD=gcp now"),
        ("leftovers CLOUD=gcp ARGS=--delete", {}, "infra.lifecycle.orphans.command --cloud gcp --delete"),
        ("reboot HOST=gpu2 INVENTORY=hosts/rack.yaml", {}, "reboot --inventory hosts/rack.yaml --host gpu2"),
        ("restart HOST=gpu2,gpu3", {}, "restart --stack local --host gpu2 --host gpu3"),
        ("rotate-key CLIENT=batch STACK=mine", {}, 'rotate-key --stack mine --client "batch"'),
        ("test-unit", {"HOST": "shell"}, "pytest tests/unit"),
    ],
)
def test_variables_reach_the_command(arguments: str, exported: dict[str, str], command: str) -> None:
    words = [word.replace(",", " ") for word in arguments.split()]
    done = dry_run(*words, **exported)

    assert done.returncode == 0, done.stderr
    assert command in " ".join(done.stdout.replace("\\\n", " ").split())


def test_a_lint_without_a_fix_does_not_stop_the_formatter() -> None:
    """`ruff check --fix` exits with 1 then, and would stop make."""
    commands = dry_run("format").stdout.splitlines()
    assert commands == [".venv/bin/ruff check --fix-only --quiet .", ".venv/bin/ruff format ."]


@pytest.mark.parametrize("task", EXAMPLES)
def test_the_example_of_a_task_runs_it(task: str) -> None:
    done = dry_run(*shlex.split(EXAMPLES[task])[1:])
    assert done.returncode == 0, done.stderr
    assert f" {task} --stack local " in done.stdout


def test_every_task_with_arguments_has_an_example() -> None:
    wanting = {task.name for task in vars(fabfile).values() if isinstance(task, Task) and task.positional}
    assert wanting - set(EXAMPLES) == set()


@pytest.mark.parametrize("target", ["test", "bench-preview", "bench-up-down"])
def test_targets_with_simulated_clouds_install_the_sdks(target: str) -> None:
    """In a fresh checkout the simulated AWS once failed: pulumi_aws was missing."""
    assert "tools/bootstrap.sh tests" in dry_run(target).stdout
