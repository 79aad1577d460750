"""The command line itself: quick to speak, and honest about what it does not know."""

import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import UsageError, run_cli
from core.paths import CHECKOUT
from infra import prepare, stack
from infra.commands import COMMANDS, main

HEAVY = ("pulumi", "pydantic", "yaml", "cryptography", "paramiko", "jinja2", "rich", "grpc")


def test_first_words_come_before_anything_heavy_is_imported() -> None:
    code = f"import sys, infra.commands; print([name for name in {HEAVY} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "env"])
def test_every_command_refuses_a_stack_that_is_not_there(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))

    with pytest.raises(UsageError, match="there is no stack nonesuch"):
        main([command, "--stack", "nonesuch"])

    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith(f"{command}: ")


def test_a_command_that_does_not_exist_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["destroy"])

    assert ended.value.code == 2
    assert "invalid choice: 'destroy'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "others"), [("up", ", or `make down STACK=local` to undo"), ("preview", ""), ("refresh", "")]
)
def test_ctrl_c_advises_to_undo_only_what_makes_something(
    command: str, others: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    monkeypatch.setattr(prepare, "prepare", lambda *_: None)
    monkeypatch.setattr(stack, "hold", interrupted)

    assert run_cli(lambda: main([command, "--stack", "local"])) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"error: interrupted; run the same command again{others}"
