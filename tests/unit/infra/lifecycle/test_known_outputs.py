"""When the outputs file is updated from the state."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core.errors import DeployError
from core.paths import outputs_file, stack_file_digest
from infra.automation import stack as stack_module
from infra.automation.backend import Backend
from infra.lifecycle.known_outputs import bring_up_to_date
from infra.lifecycle.saved import note_file, save_outputs
from tests.unit.provisioning.records import stack_values
from tools.pulumi import cli

NAME = "local"

PLACEMENT = {
    "id": "0123abcd",
    "region": "ap-northeast-2",
    "began_at": "2026-01-01T00:00:00Z",
    "image_name": "ubuntu",
    "image": "ami-1",
    "zone": "a",
    "machine_type": "m6i.2xlarge",
    "zones": ["a"],
}


@dataclass
class State:
    """A stack's state as the CLI reads it."""

    values: dict[str, Any] | None
    changed: float | None
    machines: bool = True
    asked: list[str] = field(default_factory=list)
    backend: Backend = field(default_factory=lambda: Backend(ours=False, settings={}, shown="s3://states"))

    def changed_at(self) -> float | None:
        self.asked.append("when")
        return self.changed

    def has_machines(self) -> bool:
        return self.machines

    def outputs(self) -> dict[str, Any] | None:
        self.asked.append("what")
        return self.values


Put = Callable[..., State]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Put a state into the checkout's own backend, or into another one."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cli, "present_cli", lambda: cli.PulumiCli(tmp_path / "pulumi", "3.258.0", "path"))
    for name in ("PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN", "PULUMI_HOME", "PULUMI_CREDENTIALS_PATH"):
        monkeypatch.delenv(name, raising=False)

    def make(values: dict[str, Any] | None, changed: float | None, *, elsewhere: bool = False) -> State:
        state = State(values, changed)
        monkeypatch.setattr(stack_module, "beside_others", lambda _name: state)
        if elsewhere:
            monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://states")
        elif changed is not None:
            file = tmp_path / "pulumi" / ".pulumi" / "stacks" / "llm-deploy" / f"{NAME}.json"
            file.parent.mkdir(parents=True)
            file.touch()
            os.utime(file, (changed, changed))
        return state

    return make


def written(address: str, at: float) -> Path:
    """Write an outputs file as `make up` does, with a note of its stack file."""
    save_outputs(NAME, values(address))
    note_file(NAME, "0" * 64)
    os.utime(outputs_file(NAME), (at, at))
    return outputs_file(NAME)


def values(address: str) -> dict[str, Any]:
    """Return outputs with one host."""
    found = stack_values(stack=NAME)
    found["hosts"][0]["address"] = address
    return found


@pytest.mark.parametrize("elsewhere", [False, True], ids=["own backend", "another backend"])
class TestEveryBackend:
    def test_a_missing_file_is_read_from_the_state(self, put: Put, elsewhere: bool) -> None:
        put(values("192.0.2.8"), 100.0, elsewhere=elsewhere)

        bring_up_to_date(NAME)

        assert "192.0.2.8" in outputs_file(NAME).read_text()

    def test_an_older_file_is_written_again(
        self, put: Put, elsewhere: bool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = written("192.0.2.7", 100.0)
        put(values("192.0.2.8"), 200.0, elsewhere=elsewhere)

        bring_up_to_date(NAME)

        assert "192.0.2.8" in file.read_text()
        assert "read the outputs of stack local from its state in s3://states" in capsys.readouterr().err
        assert not stack_file_digest(NAME).exists(), "the stack file of these outputs is unknown"

    def test_a_newer_file_stays(self, put: Put, elsewhere: bool) -> None:
        file = written("192.0.2.7", 300.0)
        state = put(values("192.0.2.8"), 200.0, elsewhere=elsewhere)

        bring_up_to_date(NAME)

        assert "192.0.2.7" in file.read_text()
        assert state.asked == (["when"] if elsewhere else []), "the default backend needs no call"

    def test_the_file_of_a_destroyed_stack_is_removed(self, put: Put, elsewhere: bool) -> None:
        file = written("192.0.2.7", 100.0)
        put({}, 200.0, elsewhere=elsewhere)

        bring_up_to_date(NAME)

        assert not file.exists()

    def test_a_stack_without_a_state_keeps_its_file(self, put: Put, elsewhere: bool) -> None:
        file = written("192.0.2.7", 100.0)
        put(None, None, elsewhere=elsewhere)

        bring_up_to_date(NAME)

        assert "192.0.2.7" in file.read_text()


@pytest.mark.parametrize("machines", [True, False])
def test_outputs_without_machines_in_the_state_are_not_read(put: Put, machines: bool) -> None:
    """With `keep_on_down`, the state keeps a disk and the outputs of the hosts that `make down` removed."""
    state = put(values("192.0.2.8") | {"placement": PLACEMENT}, 100.0)
    state.machines = machines

    bring_up_to_date(NAME)

    assert outputs_file(NAME).exists() is machines


def test_outputs_are_not_updated_if_the_cli_is_not_installed_yet(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    written("192.0.2.7", 100.0)
    state = put(values("192.0.2.8"), 200.0, elsewhere=True)
    monkeypatch.setattr(cli, "present_cli", lambda: None)

    bring_up_to_date(NAME)

    assert state.asked == []


def test_unchanged_outputs_keep_the_digest_of_their_stack_file(put: Put) -> None:
    """After `make refresh` the state is newer and has the same outputs."""
    written("192.0.2.7", 100.0)
    put(values("192.0.2.7"), 200.0)

    bring_up_to_date(NAME)

    assert stack_file_digest(NAME).exists()


def test_a_silent_backend_is_only_a_warning_if_an_outputs_file_exists(
    put: Put, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = put(None, None, elsewhere=True)

    def silent() -> float:
        raise DeployError("was stopped after 60 s", where="pulumi stack of stack local")

    monkeypatch.setattr(state, "changed_at", silent)
    with pytest.raises(DeployError, match="was stopped"):
        bring_up_to_date(NAME)
    file = written("192.0.2.7", 100.0)

    bring_up_to_date(NAME)

    assert "192.0.2.7" in file.read_text()
    assert "continuing with the outputs of the last `make up` in this checkout" in capsys.readouterr().err


def test_a_stack_without_a_file_and_outputs_calls_no_backend(put: Put) -> None:
    state = put(None, None, elsewhere=True)

    bring_up_to_date("nonesuch")

    assert state.asked == []
