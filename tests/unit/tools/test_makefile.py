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


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("deploy-gpu", "which stack? write CLOUD=aws, CLOUD=gcp or STACK=name"),
        ("deploy-gpu-spot CLOUD=azure", "there is no azure; write aws or gcp"),
        ("deploy-gpu CLOUD=aws STACK=mine", "write CLOUD or STACK, not both"),
        ("deploy-cpu CLOUD=aws STACK=mine", "write CLOUD or STACK, not both"),
        ("down CLOUD=aws", "down: which stack? write STACK=name, e.g. STACK=aws-gpu"),
        ("status CLOUD=gcp", "status: which stack? write STACK=name, e.g. STACK=gcp-gpu"),
        ("leftovers", "which cloud? write CLOUD=aws or CLOUD=gcp"),
        ("adopt", "which host? write HOST=user@address"),
    ],
)
def test_what_must_be_said_is_asked_for(arguments: str, told: str) -> None:
    """`make down CLOUD=aws` once removed the local stack and left the cloud's machines."""
    done = dry_run(*arguments.split())

    assert done.returncode == 2
    assert told in done.stderr


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ("deploy-cpu", "infra.commands up --stack local"),
        ("deploy-gpu STACK=mine", "infra.commands up --stack mine"),
        ("down", "infra.commands down --stack local"),
        ("status INVENTORY=hosts/rack.yaml", "provisioning status --inventory hosts/rack.yaml"),
        ("adapters DO=promote ARGS=contract@4", "provisioning adapters:promote --stack local contract@4"),
        ("leftovers CLOUD=gcp", "infra.sweep --cloud gcp"),
    ],
)
def test_what_is_said_is_handed_on(arguments: str, command: str) -> None:
    assert command in dry_run(*arguments.split()).stdout
