"""Wrong stack files through the real commands: an error before anything is created."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.paths import CHECKOUT
from infra.config.reader import DEPLOYMENT_KEY
from tests.unit.infra.config.conftest import cases, changed

COMMANDS = ("preview", "up")

IN_ANOTHER_CHECKOUT = """
import pathlib, runpy, sys
import core.paths
core.paths.STACKS_DIR = pathlib.Path(sys.argv.pop(1))
core.paths.CHECKOUT = core.paths.STACKS_DIR.parent
runpy.run_module("infra.lifecycle.commands", run_name="__main__", alter_sys=True)
"""
"""Runs `python -m infra.lifecycle.commands` on another folder of stack files."""

CASES = [case for name in ("cloud_keys", "shape", "secrets") for case in cases(name)[::9]]


def _run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of infra with its own state folder."""
    return subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_CHECKOUT, str(tmp_path / "stacks"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=CHECKOUT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "home"), "LLM_DEPLOY_STATE": str(tmp_path / "state")},
    )


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", CASES)
def test_a_wrong_config_ends_a_command_before_it_creates_anything(
    case: dict[str, Any], command: str, bases: dict[str, Any], tmp_path: Path
) -> None:
    """One line about the command, then the lines of the table. Exit status 2, no traceback, no state."""
    (tmp_path / "stacks").mkdir()
    deployment = changed(bases[case["base"]], case)
    text = yaml.safe_dump({"config": {DEPLOYMENT_KEY: deployment}})
    (tmp_path / "stacks" / "Pulumi.case.yaml").write_text(text)

    done = _run(tmp_path, command, "--stack", "case")

    announced, *lines = done.stderr.splitlines()
    assert announced.startswith(f"{command}: ")
    assert lines == [f"error: stacks/Pulumi.case.yaml: {line}" for line in case["lines"]]
    assert done.returncode == 2
    assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stacks"]


def test_an_unknown_stack_ends_a_command_with_status_2(tmp_path: Path) -> None:
    """A usage error that names the nearest stack."""
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "Pulumi.local.yaml").touch()
    done = _run(tmp_path, "preview", "--stack", "locla")
    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == [
        "error: stacks/Pulumi.locla.yaml: there is no stack locla; did you mean local?"
    ]
    assert not (tmp_path / "state").exists()
