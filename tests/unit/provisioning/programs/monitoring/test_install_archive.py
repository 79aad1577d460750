"""Which packages are refused before apt runs. The installation itself: tests/machine/test_gateway.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from provisioning.programs.monitoring import install_archive
from tests.doubles.grafana_package import grafana_package

NAMES = ("grafana", "grafana-enterprise")


def run(package: Path, *words: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program with programs of `path` first."""
    argv = [sys.executable, install_archive.__file__, str(package), *NAMES, *words]
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Programs of a host with Grafana 12.0.0 on amd64; apt writes what it was asked for."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {
        "dpkg-query": 'echo "ok installed 12.0.0\\c"',
        "dpkg": '[ "$1" = --print-architecture ] && echo amd64 && exit; exec /usr/bin/dpkg "$@"',
        "apt-get": f'echo "$@" >> {tmp_path}/asked; exit 100',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


REFUSED = {
    "another processor": ({"arch": "arm64"}, "error: the package is for arm64, and this host is amd64"),
    "another program": (
        {"name": "loki"},
        "error: the file is the package loki, not grafana or grafana-enterprise",
    ),
    "older than installed": (
        {"version": "11.9.0"},
        "error: grafana 12.0.0 is installed, and its data may not fit 11.9.0; take a newer one",
    ),
}


@pytest.mark.parametrize(("fields", "line"), REFUSED.values(), ids=REFUSED)
def test_a_package_that_cannot_be_right_is_refused(fields: dict[str, str], line: str, host: Path) -> None:
    done = run(grafana_package(host.parent, **fields), path=str(host))
    assert (done.returncode, done.stdout.strip()) == (1, line)
    assert not (host.parent / "asked").exists()


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "grafana.deb").write_text("<html>404</html>")
    done = run(tmp_path / "grafana.deb")
    assert (done.returncode, done.stdout) == (1, f"error: {tmp_path}/grafana.deb is not a Debian package\n")


def test_the_check_compares_versions(host: Path) -> None:
    assert run(grafana_package(host.parent), "--check", path=str(host)).returncode == 0
    assert run(grafana_package(host.parent, version="12.1.0"), "--check", path=str(host)).returncode == 1
    assert run(host.parent / "missing.deb", "--check", path=str(host)).returncode == 1


def test_a_failed_apt_is_tried_again_with_new_lists(host: Path) -> None:
    package = grafana_package(host.parent, version="12.1.0")
    done = run(package, path=str(host))
    assert (done.returncode, done.stdout.strip()) == (1, "error: apt-get install ended with status 100")
    asked = [line.split()[-2:] for line in (host.parent / "asked").read_text().splitlines()]
    assert [words[-1] for words in asked] == [str(package), "update", str(package)]
