"""The command line: its first line comes quickly, and its advice names only commands that work."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from core.errors import UsageError, run_cli
from core.paths import CHECKOUT
from infra.automation import stack
from infra.automation.events import Report
from infra.clouds.local.cloud import Local
from infra.config import reader
from infra.lifecycle import down, saved, up
from infra.lifecycle.commands import COMMANDS, main
from infra.lifecycle.down import Teardown
from infra.lifecycle.preflight import command as preflight
from tests.unit.provisioning.records import stack_values

HEAVY = ("pulumi", "pydantic", "yaml", "cryptography", "paramiko", "jinja2", "rich", "grpc")


def test_the_first_line_is_printed_before_heavy_imports() -> None:
    code = f"import sys, infra.lifecycle.commands; print([name for name in {HEAVY} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "env"])
def test_every_command_refuses_an_unknown_stack(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))

    with pytest.raises(UsageError, match="there is no stack nonesuch"):
        main([command, "--stack", "nonesuch"])

    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith(f"{command}: ")


def test_an_unknown_command_exits_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["destroy"])

    assert ended.value.code == 2
    assert "invalid choice: 'destroy'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "others"), [("up", ", or `make down STACK=local` to undo"), ("preview", ""), ("refresh", "")]
)
def test_ctrl_c_advises_down_only_for_a_command_that_creates_resources(
    command: str, others: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    monkeypatch.setattr(Local, "prepare", lambda *_: None)
    monkeypatch.setattr(stack, "hold", interrupted)

    assert run_cli(lambda: main([command, "--stack", "local"])) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"error: interrupted; run the same command again{others}"


def test_up_notes_the_digest_of_the_stack_file_of_its_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(Local, "prepare", lambda *_: None)
    monkeypatch.setattr(stack, "hold", lambda *_, **_more: nullcontext())
    monkeypatch.setattr(up, "up", lambda *_: (Report(outputs=stack_values(stack="local")), []))

    assert main(["up", "--stack", "local"]) == 0

    assert not saved.file_differs("local")
    monkeypatch.setattr(saved, "file_digest", lambda _: "edited")
    assert saved.file_differs("local")


TOO_LARGE = """\
config:
  llm-deploy:deployment:
    cloud: local
    machine: {memory_gib: 4096, cpus: 1024}
    serving:
      model: {name: tiny-llama, source: {kind: tiny, name: llama}}
"""


@pytest.mark.parametrize(
    "run",
    [
        lambda: main(["preview", "--stack", "big"]),
        lambda: main(["up", "--stack", "big"]),
        lambda: preflight.main(["--stack", "big"]),
    ],
    ids=["preview", "up", "preflight"],
)
def test_a_machine_larger_than_this_computer_is_refused_before_anything_is_created(
    run: Callable[[], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    for module in (reader, saved):
        monkeypatch.setattr(module, "STACKS_DIR", tmp_path)
    (tmp_path / "Pulumi.big.yaml").write_text(TOO_LARGE)

    assert run_cli(run) == 2

    printed = capsys.readouterr().err
    assert "error: stacks/Pulumi.big.yaml: machine.memory_gib: 4096 GiB is more than the" in printed
    assert "error: stacks/Pulumi.big.yaml: machine.cpus: 1024 is more than the" in printed
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("stack_name", "last"),
    [("gcp-gpu", "next: make up STACK=gcp-gpu"), ("gone", "created: make orphans CLOUD=gcp")],
    ids=["with a file", "without a file"],
)
def test_down_names_the_cloud_and_suggests_up_only_if_the_stack_file_exists(
    stack_name: str, last: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`down` once advised `CLOUD=aws (or gcp)`, and `make up` for a stack whose file had been deleted."""
    done = Teardown(cloud="gcp", ok=True, destroyed=[], left=[], asked=False)
    monkeypatch.setattr(down, "tear_down", lambda _stack: done)

    assert main(["down", "--stack", stack_name]) == 0

    printed = capsys.readouterr().err.splitlines()
    assert printed[-1].endswith(last)
    assert any(line.endswith("make orphans CLOUD=gcp") for line in printed)
