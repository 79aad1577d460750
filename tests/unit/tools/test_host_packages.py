"""Missing packages of a local machine's host: installed, or named in an error."""

import os
from pathlib import Path

import pytest

from core.errors import UsageError
from tools import host_packages


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the search path."""
    monkeypatch.setattr(host_packages, "SEARCH_PATH", str(tmp_path))
    monkeypatch.setattr(host_packages, "PACKAGE_OF", {"ip": "iproute2", "systemd-nspawn": "systemd-container"})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def add(folder: Path, name: str, script: str = "") -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_does_nothing_when_all_is_installed(programs: Path) -> None:
    add(programs, "ip")
    add(programs, "systemd-nspawn")
    add(programs, "apt-get", "exit 1")
    host_packages.ensure_host_packages()


def test_installs_only_the_missing_packages(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(programs, "ip")
    add(
        programs,
        "apt-get",
        f'echo "$@" >>{programs}/log; PATH=/bin:/usr/bin; cp {programs}/ip {programs}/systemd-nspawn',
    )
    host_packages.ensure_host_packages()
    update, install = (programs / "log").read_text().splitlines()
    assert update.endswith("update")
    assert install.endswith("install --yes --no-install-recommends systemd-container")
    assert "this host lacks systemd-container" in capsys.readouterr().err


def test_a_failed_installation_names_the_command_to_run(programs: Path) -> None:
    add(programs, "apt-get", "echo 'E: Unable to locate package' >&2; exit 100")
    with pytest.raises(UsageError, match="status 100; install by hand: apt-get install iproute2 systemd-co") as failed:
        host_packages.ensure_host_packages()
    assert failed.value.detail == "E: Unable to locate package"


def test_without_apt_the_error_names_the_packages(programs: Path) -> None:
    add(programs, "ip")
    with pytest.raises(UsageError, match="this host lacks the Debian packages systemd-container"):
        host_packages.ensure_host_packages()


def test_a_user_without_root_gets_an_error(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(programs, "ip")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="needs root"):
        host_packages.ensure_host_packages()
