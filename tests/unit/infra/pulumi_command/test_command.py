"""The `pulumi` of the checkout: which CLI runs, in which environment, and what the user decides."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.errors import UsageError
from core.paths import CHECKOUT
from infra.pulumi_command import command as pulumi_command
from infra.pulumi_command.command import is_ours, run
from tools.pulumi.cli import PulumiCli

Become = dict[str, Any]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who is nowhere logged in, in a checkout without state."""
    for name in ("PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN", "PULUMI_HOME", "PULUMI_CREDENTIALS_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(CHECKOUT)
    return tmp_path


@pytest.fixture
def became(home: Path, monkeypatch: pytest.MonkeyPatch) -> Become:
    """Note as what the process would go on, instead of going on so."""
    noted: Become = {}

    def become(program: str, words: list[str], environment: dict[str, str]) -> int:
        noted.update(program=program, words=words, environment=dict(environment))
        return 0

    monkeypatch.setattr(pulumi_command, "_become", become)
    cli = PulumiCli(home / "cache" / "pulumi", "3.258.0", "build")
    monkeypatch.setattr(pulumi_command, "find_cli", lambda: cli)
    return noted


def test_without_a_choice_the_state_is_the_checkouts(became: Become, home: Path) -> None:
    run(["version"])

    assert became["program"] == str(home / "cache" / "pulumi")
    environment = became["environment"]
    assert environment["PULUMI_BACKEND_URL"] == f"file://{home}/state/pulumi"
    assert Path(environment["PULUMI_CONFIG_PASSPHRASE_FILE"]).exists()
    assert environment["VIRTUAL_ENV"] == str(CHECKOUT / ".venv")
    assert environment["PATH"].startswith(f"{CHECKOUT}/.venv/bin:{home}/cache:")
    assert "PULUMI_ENABLE_STREAMING_JSON_PREVIEW" not in environment, "scripts expect the usual document"


@pytest.mark.parametrize(
    "exported",
    [
        {"PULUMI_BACKEND_URL": "s3://states", "PULUMI_CONFIG_PASSPHRASE": "theirs"},
        {"PULUMI_BACKEND_URL": "file:///srv/states", "PULUMI_CONFIG_PASSPHRASE_FILE": "/srv/passphrase"},
        {"PULUMI_ACCESS_TOKEN": "pul-0123", "PULUMI_CONFIG_PASSPHRASE": "theirs"},
    ],
    ids=["s3", "files", "Pulumi Cloud"],
)
def test_what_the_user_exported_is_kept(
    became: Become, home: Path, exported: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in exported.items():
        monkeypatch.setenv(name, value)

    run(["whoami"])

    assert {name: became["environment"].get(name) for name in exported} == exported
    assert ("PULUMI_BACKEND_URL" in became["environment"]) == ("PULUMI_BACKEND_URL" in exported)
    assert not (home / "state" / "pulumi-passphrase").exists()


def test_a_login_of_the_user_is_the_backend(became: Become, home: Path) -> None:
    (home / ".pulumi").mkdir()
    (home / ".pulumi" / "credentials.json").write_text(json.dumps({"current": "https://api.pulumi.com"}))

    run(["whoami"])

    assert "PULUMI_BACKEND_URL" not in became["environment"]
    assert became["environment"]["PULUMI_CREDENTIALS_PATH"] == str(home / ".pulumi")


@pytest.mark.parametrize(("typed", "command"), [("preview", "preview"), ("down", "destroy")])
def test_without_a_stack_nothing_runs(
    became: Become, monkeypatch: pytest.MonkeyPatch, typed: str, command: str
) -> None:
    """A stack chosen in the CLI's own menu would get neither our lock nor our notes."""
    monkeypatch.setattr(pulumi_command, "_selected_stack", lambda *_: "")

    with pytest.raises(
        UsageError, match=f"^pulumi {command}: no stack is named; write -s NAME, e.g. pulumi {command} -s"
    ):
        run([typed, "--yes"])

    assert became == {}


@pytest.mark.parametrize("command", ["login", "logout"])
def test_a_login_is_noted_where_make_up_looks_for_it(became: Become, home: Path, command: str) -> None:
    run([command, "s3://states"])

    assert became["environment"]["PULUMI_CREDENTIALS_PATH"] == str(home / ".pulumi")
    assert "PULUMI_BACKEND_URL" not in became["environment"]


def test_in_another_project_the_users_own_cli_runs_untouched(
    became: Become, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = home / "own" / "pulumi", home / "other" / "deep"
    own.parent.mkdir()
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    other.mkdir(parents=True)
    (home / "other" / "Pulumi.yaml").write_text("name: other\nruntime: python\n")
    monkeypatch.setenv("PATH", f"{CHECKOUT}/.venv/bin:{own.parent}")

    run(["-C", str(other), "up", "-s", "prod"])

    assert became["program"] == str(own)
    assert "PULUMI_BACKEND_URL" not in became["environment"]
    assert not (home / "state").exists()


@pytest.mark.parametrize(
    ("folder", "ours"), [(CHECKOUT, True), (CHECKOUT / "infra", True), (CHECKOUT / "docs" / "decisions", True)]
)
def test_the_project_is_found_upward(folder: Path, ours: bool) -> None:
    assert is_ours(folder) is ours


def test_a_folder_without_a_project_is_not_ours(tmp_path: Path) -> None:
    assert not is_ours(tmp_path)


HEAVY = ("pulumi", "pydantic", "yaml", "cryptography", "paramiko", "jinja2", "rich", "grpc", "boto3")


def test_what_needs_no_stack_loads_nothing_heavy() -> None:
    code = (
        "import sys, infra.pulumi_command.command, infra.automation.backend, infra.automation.pulumi_cli;"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_setup_puts_the_command_on_path() -> None:
    """`tools/bootstrap.sh` installs it with the project, as pyproject.toml names it."""
    done = subprocess.run(
        ["bash", "-ec", ". .venv/bin/activate; type -P pulumi"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert Path(done.stdout.strip()).resolve() == (CHECKOUT / ".venv" / "bin" / "pulumi").resolve()
