"""`make preflight` without calls to a cloud: it prints what it checked."""

import subprocess
import sys
from pathlib import Path

import pytest

from core.paths import CHECKOUT
from infra.clouds.local.cloud import Local
from infra.lifecycle.preflight import command


def test_a_local_stack_prints_what_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It printed nothing between its first line and the next command."""
    for variable in ("LLM_DEPLOY_STATE", "LLM_DEPLOY_RUNS"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setattr(Local, "refuse_too_large", lambda *_: None)  # another test covers this computer's memory
    assert command.main(["--stack", "local"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "preflight: checks what stack local needs; creates nothing",
        "  ✓ checked the stack file, and this computer's memory and processors: no problem found",
        "next: make up STACK=local",
    ]


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_preflight_does_not_import_the_sdk_of_pulumi(cloud: str) -> None:
    """It was imported for one constant, and took a third of the time of `up`."""
    module = f"infra.clouds.{cloud}.preflight.checks"
    code = f"import sys, {module}; print([name for name in sys.modules if name.startswith('pulumi')])"

    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
