"""Secrets that a stack file names and this computer lacks: found before anything is created."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import ConfigError, run_cli
from core.paths import outputs_file
from infra.clouds.local.cloud import Local
from infra.config import reader
from infra.lifecycle.commands import main
from infra.lifecycle.preflight import command as preflight
from infra.lifecycle.preflight.missing_secrets import missing_secrets, refuse_missing_secrets
from infra.pulumi_command import work as typed_work

ALERTS = {
    "email": {
        "to": ["ops@example.com"],
        "sender": "llm@example.com",
        "server": "smtp.example.com:587",
        "user": "llm",
        "password": {"env": "SMTP_PASSWORD"},
    },
    "webhook_from": {"file": "/nonesuch/webhook"},
}


def provider(key: dict[str, str]) -> dict[str, Any]:
    model = {"alias": "tiny", "model": "acme/tiny", "input_usd": 1, "output_usd": 1}
    where = {"name": "double", "kind": "openai", "url": "https://provider.example.com/v1"}
    return {**where, "key": key, "models": [model], "day_usd": 1, "month_usd": 2}


def deployment(key: dict[str, str]) -> dict[str, Any]:
    overflow = {"day_usd": 1, "month_usd": 2, "providers": [provider(key)]}
    return {
        "cloud": "local",
        "machine": {"memory_gib": 6, "cpus": 2},
        "serving": {"model": {"name": "tiny", "source": {"kind": "tiny", "name": "llama"}, "context_tokens": 1024}},
        "gateway": {"clients": [{"name": "site", "data": "public"}], "overflow": overflow},
    }


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No stack of this checkout, no machine, and nothing is installed."""
    for variable in ("LLM_DEPLOY_STATE", "LLM_DEPLOY_RUNS"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.delenv("PROVIDER_KEY", raising=False)
    monkeypatch.setattr(reader, "STACKS_DIR", tmp_path)
    monkeypatch.setattr(Local, "refuse_too_large", lambda *_: None)
    monkeypatch.setattr(Local, "prepare", lambda *_: pytest.fail("something was made"))
    return tmp_path


def write(folder: Path, content: dict[str, Any]) -> None:
    text = yaml.safe_dump({"config": {"llm-deploy:deployment": content}})
    (folder / "Pulumi.demo.yaml").write_text(text)


ENV = "environment variable PROVIDER_KEY is not set; export PROVIDER_KEY=…"
LINE = f"error: stacks/Pulumi.demo.yaml: gateway.overflow.providers[0].key: {ENV}"

COMMANDS: dict[str, Callable[[], int]] = {
    "make up": lambda: main(["up", "--stack", "demo"]),
    "make preflight": lambda: preflight.main(["--stack", "demo"]),
    "pulumi up": lambda: typed_work.work("up", "demo", ["up"], own_config=False),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_up_refuses_a_missing_key_before_anything_is_made(
    alone: Path, command: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """`provision` said it, when the machines already cost money."""
    write(alone, deployment({"env": "PROVIDER_KEY"}))
    assert run_cli(command) == 2
    assert capsys.readouterr().err.splitlines()[-1] == LINE


def test_other_commands_need_no_key(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from infra.automation import stack  # it imports Pulumi

    reached: list[str] = []

    def looks(*_: object, **__: object) -> None:
        reached.append("the state")
        raise KeyboardInterrupt

    write(alone, deployment({"env": "PROVIDER_KEY"}))
    for name in ("hold", "only_looking"):
        monkeypatch.setattr(stack, name, looks)
    for verb in ("preview", "refresh"):
        assert run_cli(lambda verb=verb: main([verb, "--stack", "demo"])) == 130  # type: ignore[misc]
    assert reached == ["the state"] * 2


def test_a_running_stack_only_gets_a_warning(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody without the key starts its stopped machines again."""
    write(alone, deployment({"env": "PROVIDER_KEY"}))
    outputs_file("demo").parent.mkdir(parents=True)
    outputs_file("demo").write_text("{}")
    refuse_missing_secrets(reader.load_stack("demo"), "demo")
    said = "environment variable PROVIDER_KEY is not set, which `provision` needs; export PROVIDER_KEY=…"
    assert capsys.readouterr().err == f"  ! gateway.overflow.providers[0].key: {said}\n"


def test_every_secret_of_a_stack_file_is_looked_at(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exposed = alone / "key"
    exposed.write_text("secret\n")
    exposed.chmod(0o644)
    content = deployment({"file": str(exposed)})
    content["serving"]["model"]["source"] = {
        **{"kind": "hub", "repo": "acme/tiny", "revision": "0" * 40},
        "token": {"env": "HF_TOKEN"},
    }
    content["gateway"] |= {"monitoring": {}, "alerts": ALERTS}
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("SMTP_PASSWORD", raising=False)
    write(alone, content)
    found = {each.key: each.what for each in missing_secrets(reader.load_stack("demo"))}
    assert found == {
        "serving.model.source.token": "environment variable HF_TOKEN is not set",
        "gateway.overflow.providers[0].key": f"{exposed} other users can read it",
        "gateway.alerts.email.password": "environment variable SMTP_PASSWORD is not set",
        "gateway.alerts.webhook_from": "/nonesuch/webhook cannot be read (No such file or directory)",
    }


def test_a_key_that_is_there_is_not_printed(
    alone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROVIDER_KEY", "sk-secret")
    write(alone, deployment({"env": "PROVIDER_KEY"}))
    refuse_missing_secrets(reader.load_stack("demo"), "demo")
    assert capsys.readouterr() == ("", "")


def test_a_missing_certificate_is_refused_as_well(alone: Path) -> None:
    content = deployment({"env": "PROVIDER_KEY"})
    content["gateway"] = {"tls": {"kind": "files", "certificate": "/nonesuch/a.pem", "key": "/nonesuch/a.key"}}
    write(alone, content)
    with pytest.raises(ConfigError, match=r"gateway\.tls\.certificate: there is no file /nonesuch/a\.pem"):
        main(["up", "--stack", "demo"])
