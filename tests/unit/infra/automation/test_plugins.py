"""The Pulumi plugin of a cloud: fetched when it is missing, with an error when that fails."""

from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import DeployError
from infra.automation import plugins
from infra.automation.plugins import ensure_plugin
from tools.pulumi.cli import PulumiCli

RELEASE = "7.1.0"


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PulumiCli:
    """A CLI that records its arguments."""
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(plugins, "version", lambda _name: RELEASE)
    program = tmp_path / "pulumi"
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n')
    program.chmod(0o755)
    return PulumiCli(program, "3.258.0", "path")


def _nothing(_plugins: Path) -> None: ...


def _whole(folder: Path) -> None:
    (folder / f"resource-aws-v{RELEASE}").mkdir(parents=True)


def _cut_off(folder: Path) -> None:
    _whole(folder)
    (folder / f"resource-aws-v{RELEASE}.partial").touch()


def _another_release(folder: Path) -> None:
    (folder / "resource-aws-v7.0.0").mkdir(parents=True)


INSTALL = [f"--non-interactive plugin install resource aws {RELEASE}"]


@pytest.mark.parametrize(
    ("there", "calls"),
    [
        pytest.param(_nothing, INSTALL, id="never fetched"),
        pytest.param(_whole, [], id="there"),
        pytest.param(_cut_off, INSTALL, id="interrupted while unpacking"),
        pytest.param(_another_release, INSTALL, id="of another release"),
    ],
)
def test_the_plugin_is_fetched_once(
    cli: PulumiCli, tmp_path: Path, there: Callable[[Path], None], calls: list[str]
) -> None:
    there(tmp_path / "home" / "plugins")

    ensure_plugin(cli, "aws")

    noted = tmp_path / "calls"
    assert (noted.read_text().splitlines() if noted.exists() else []) == calls


def test_a_plugin_that_cannot_be_fetched_is_reported_with_the_reason(cli: PulumiCli) -> None:
    cli.program.write_text("#!/bin/sh\necho 'error: no route to host' >&2; exit 1\n")

    with pytest.raises(DeployError, match=f"plugin for aws, version {RELEASE}: cannot be fetched") as caught:
        ensure_plugin(cli, "aws")

    assert caught.value.detail == "error: no route to host"


def test_the_sdk_is_installed_before_its_version_is_read(cli: PulumiCli, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(plugins, "ensure_sdk", asked.append)
    monkeypatch.setattr(plugins, "version", lambda name: f"{name} after {asked}")
    cli.program.write_text("#!/bin/sh\nexit 1\n")

    with pytest.raises(DeployError, match=r"pulumi_gcp after \['gcp'\]"):
        ensure_plugin(cli, "gcp")
