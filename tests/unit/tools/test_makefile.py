"""Targets of the Makefile that choose a stack: what they would run, without running it."""

import subprocess

import pytest

from core.paths import CHECKOUT


def dry_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Return what `make` would run; `-n` still runs the recipes that call make again, which then only print, too."""
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
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
    assert [command.split()[-1] for command, _word, _stack in commands] == ["up", "provision", "smoke"]
    assert {stack.split()[0] for _command, _word, stack in commands} == {f"{cloud}-{kind}"}
    assert (CHECKOUT / "stacks" / f"Pulumi.{cloud}-{kind}.yaml").exists()


def test_a_gpu_needs_a_cloud_or_a_stack() -> None:
    """This computer's stack has none."""
    done = dry_run("deploy-gpu")

    assert done.returncode == 2
    assert "CLOUD=" in done.stderr
