"""A cloud's SDKs: installed once, when they are first needed."""

import os
import sys
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from catalog.clouds import RENTED, SDKS
from core.errors import DeployError, UsageError
from core.paths import CHECKOUT
from core.waiting import one_at_a_time as waiting
from core.waiting.one_at_a_time import one_at_a_time
from infra.automation import sdk
from infra.automation.sdk import ensure_sdk
from infra.clouds import registry
from infra.config import load_stack
from infra.lifecycle.orphans import command as orphans_command
from infra.lifecycle.orphans import remaining
from infra.lifecycle.preflight import checks as preflight
from tests.slowness import patient

INSTALLS = (
    "cd {site}; mkdir -p acme_sdk-1.0.dist-info; echo 'Name: acme-sdk\nVersion: 1.0' > acme_sdk-1.0.dist-info/METADATA"
)


class Environment:
    """A separate environment for cloud aws, whose SDK is a package that does not exist elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.site = folder / "site"
        self.site.mkdir()
        self.script("exit 0")

    def script(self, text: str) -> None:
        """Make tools/bootstrap.sh run this shell code."""
        program = self.folder / "bootstrap.sh"
        program.write_text(f'#!/bin/sh\necho "$*" >> {self.calls}\n{text.format(site=self.site)}\n')
        program.chmod(0o755)

    def install(self) -> None:
        info = self.site / "acme_sdk-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Name: acme-sdk\nVersion: 1.0\n")

    @property
    def called(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    made = Environment(tmp_path)
    monkeypatch.setattr(sdk, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(sdk, "BOOTSTRAP", tmp_path / "bootstrap.sh")
    monkeypatch.setattr(sdk, "SDKS", {"aws": ("pytest", "acme-sdk")})
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.syspath_prepend(str(made.site))
    return made


def test_the_packages_match_the_extras_in_pyproject() -> None:
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    own = {cloud: tuple(Requirement(each).name for each in extras[cloud]) for cloud in SDKS if cloud in extras}
    assert own == SDKS
    assert set(SDKS) == set(RENTED)


def test_a_missing_sdk_is_installed_once(environment: Environment) -> None:
    environment.script(INSTALLS)

    ensure_sdk("aws")
    ensure_sdk("aws")
    ensure_sdk("local")

    assert environment.called == ["aws"]


def test_a_failed_installation_is_repeated(environment: Environment) -> None:
    """The packages may be installed without their dependencies."""
    environment.script(f"{INSTALLS}; exit 2")
    with pytest.raises(DeployError, match="cloud aws: pytest could not be installed; see the lines above"):
        ensure_sdk("aws")
    environment.script("exit 0")

    ensure_sdk("aws")

    assert environment.called == ["aws", "aws"]


def test_an_installation_that_lacks_the_sdk_has_failed(environment: Environment) -> None:
    with pytest.raises(DeployError, match="acme-sdk could not be installed"):
        ensure_sdk("aws")

    assert environment.called == ["aws"]


def test_two_commands_install_once(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = threading.Event()
    monkeypatch.setattr(waiting, "say", lambda _line: waits.set())
    second = threading.Thread(target=ensure_sdk, args=("aws",))

    with one_at_a_time(environment.folder / ".sdk.lock", ""):
        second.start()
        assert waits.wait(patient(30))
        environment.install()
    second.join(patient(30))

    assert not second.is_alive()
    assert environment.called == []


def test_an_environment_of_another_user_is_reported(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sudo make setup` creates one that only root can write."""
    monkeypatch.setattr(os, "access", lambda *_: False)

    with pytest.raises(UsageError, match="acme-sdk cannot be installed: your user may not write to this folder"):
        ensure_sdk("aws")

    assert environment.called == []


def test_an_environment_outside_the_checkout_is_left_alone(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", "/usr")

    with pytest.raises(UsageError, match=r"/usr: acme-sdk is not installed; .* pip install -e \.\[aws\]"):
        ensure_sdk("aws")

    assert environment.called == []


class AskedForError(Exception):
    """Ends a command when it needs an SDK."""


def asked_for(cloud: str) -> None:
    raise AskedForError(cloud)


@pytest.mark.parametrize(
    "command",
    [
        lambda: registry.rented_cloud("gcp"),
        lambda: preflight.findings(load_stack("gcp-gpu"), "gcp-gpu", None),
        lambda: orphans_command.main(["--cloud", "gcp"]),
    ],
    ids=["commands on a cloud", "preflight", "orphans"],
)
def test_a_command_installs_the_sdk_before_it_calls_the_cloud(
    command: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a fresh checkout, preflight of a GCP stack once ended in a traceback."""
    monkeypatch.setattr(registry, "ensure_sdk", asked_for)

    with pytest.raises(AskedForError, match="gcp"):
        command()


def test_a_stack_without_a_placement_needs_no_sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    monkeypatch.setattr(registry, "ensure_sdk", asked_for)

    assert remaining.find("gcp", "one") == remaining.kept("gcp", "one") == []
    remaining.remove("gcp", "one", 1)
