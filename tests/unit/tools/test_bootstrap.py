"""tools/bootstrap.sh on machines that lack programs. All programs are fakes that record their calls."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from core.paths import CHECKOUT
from tests.slowness import patient


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


OF_EACH_MACHINE = "bash", "sh", "dirname", "mkdir", "rm", "mv", "ln", "touch", "sed", "sort", "head", "flock", "cat"
OF_TESTS = ("git", "ssh-keygen", "ss", "haproxy", "gpg", "gpg-agent")
UNPACKED = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "amtool": "prometheus-alertmanager",
    "mtail": "mtail",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "prometheus-node-exporter": "prometheus-node-exporter",
}
"""Package by program."""


class Machine:
    """A checkout, and a PATH with only the programs of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        for name in ("bin", "checkout/tools", "checkout/.venv/bin", "home"):
            (folder / name).mkdir(parents=True)
        for name in ("tools/bootstrap.sh", "tools/uv-requirements.txt", "pyproject.toml", "uv.lock"):
            (folder / "checkout" / name).write_bytes((CHECKOUT / name).read_bytes())
        (folder / "checkout/tools/bootstrap.sh").chmod(0o755)
        for name in OF_EACH_MACHINE:
            (self.bin / name).symlink_to(Path("/usr/bin") / name)
        self.says("id", "0")

    def says(self, name: str, output: str, *, status: int = 0) -> None:
        """Put a program on PATH that records its arguments, prints `output` and exits with `status`."""
        write_program(self.bin / name, f'echo "{name} $*" >> {self.calls}; printf "%s\\n" "{output}"; exit {status}')

    def has_python(self) -> None:
        write_program(
            self.bin / "python3",
            f'echo "python3 $*" >> {self.calls}; case "$*" in *sys.executable*) echo "{self.bin}/python3";; esac',
        )

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self.folder / "checkout/tools/bootstrap.sh"), *arguments],
            env={"PATH": str(self.bin), "HOME": str(self.folder / "home")},
            capture_output=True,
            text=True,
            check=False,
            timeout=patient(30),
        )

    def called(self) -> str:
        return self.calls.read_text() if self.calls.exists() else ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_uv_on_path_installs_the_lockfile(machine: Machine) -> None:
    machine.has_python()
    machine.says("uv", "uv 0.13.9 (x86_64-unknown-linux-gnu)")

    done = machine.run()

    assert done.returncode == 0, done.stderr
    assert f"uv sync --frozen --quiet --inexact --python {machine.bin}/python3" in machine.called()
    assert (machine.folder / "checkout/.venv/.ready").exists()


def test_does_nothing_when_all_is_installed(machine: Machine) -> None:
    checkout = machine.folder / "checkout"
    write_program(checkout / ".venv/bin/python", "exit 0")
    (checkout / ".venv/.ready").touch()

    done = machine.run()

    assert (done.returncode, done.stdout + done.stderr, machine.called()) == (0, "", "")


@pytest.mark.parametrize("name", ["pyproject.toml", "uv.lock"])
def test_a_changed_lock_is_installed(machine: Machine, name: str) -> None:
    checkout = machine.folder / "checkout"
    write_program(
        checkout / ".venv/bin/python", f'case "$*" in *sys.executable*) echo {checkout}/.venv/bin/python;; esac'
    )
    (checkout / ".venv/.ready").touch()
    stamp = (checkout / ".venv/.ready").stat().st_mtime
    os.utime(checkout / name, (stamp + 5, stamp + 5))
    machine.says("uv", "uv 0.13.9")

    assert machine.run().returncode == 0
    assert "uv sync --frozen" in machine.called()


def test_tests_and_checks_install_every_extra(machine: Machine) -> None:
    machine.has_python()
    for name in (*OF_TESTS, *UNPACKED, "shellcheck"):
        machine.says(name, "")
    machine.says("uv", "uv 0.13.9")

    for purpose in ("tests", "checks"):
        assert machine.run(purpose).returncode == 0
        assert (machine.folder / f"checkout/.venv/.ready-{purpose}").exists()
    assert machine.called().count("--all-extras --group applications") == 2


def test_packages_with_daemons_are_unpacked_and_not_installed(machine: Machine) -> None:
    """Installed, Prometheus and its exporters would listen on this machine, also after its next start."""
    machine.has_python()
    for name in OF_TESTS:
        machine.says(name, "")
    machine.says("uv", "uv 0.13.9")
    write_program(
        machine.bin / "apt-get",
        f'echo "apt-get $*" >> {machine.calls}; case "$*" in *" download "*) echo "$*" > one.deb;; esac',
    )
    write_program(
        machine.bin / "dpkg-deb",
        f'mkdir -p "$3/usr/bin"; for each in {" ".join(UNPACKED)}; do ln -s /bin/true "$3/usr/bin/$each"; done',
    )

    done = machine.run("tests")

    assert done.returncode == 0, done.stderr
    assert re.findall(r"download (\S+)$", machine.called(), re.MULTILINE) == list(dict.fromkeys(UNPACKED.values()))
    assert " install " not in machine.called()
    cache = machine.folder / "home/.cache/llm-deploy/debian"
    for program, package in UNPACKED.items():
        link = machine.folder / "checkout/.venv/bin" / program
        assert link.readlink() == cache / package / "usr/bin" / program
        assert os.access(link, os.X_OK)


def test_a_package_that_cannot_be_fetched_is_named(machine: Machine) -> None:
    machine.has_python()
    for name in OF_TESTS:
        machine.says(name, "")
    machine.says("uv", "uv 0.13.9")
    machine.says("apt-get", "", status=100)

    done = machine.run("tests")

    assert done.returncode == 2
    assert "error: Debian's package prometheus could not be fetched" in done.stderr
    assert not (machine.folder / "checkout/.venv/.ready-tests").exists()


def test_the_sdks_of_a_cloud_are_added_and_follow_the_lockfile(machine: Machine) -> None:
    """After `make setup` alone, a GCP stack once failed with a traceback: google.auth was missing."""
    machine.has_python()
    machine.says("uv", "uv 0.13.9")
    (machine.folder / "checkout/.venv/.ready").touch()

    done = machine.run("gcp")

    assert done.returncode == 0, done.stderr
    assert "→ install the SDKs of cloud gcp" in done.stderr
    assert f"uv sync --frozen --quiet --inexact --extra gcp --python {machine.bin}/python3" in machine.called()
    machine.run("gcp")
    assert machine.called().count("--extra gcp") == 2, "who asks again has seen that they are not there"
    (machine.folder / "checkout/.venv/.ready").unlink()
    machine.run()
    assert machine.called().count("--extra gcp") == 3
    assert "--extra aws" not in machine.called()


def test_the_sdks_for_the_tests_follow_the_lockfile_too(machine: Machine) -> None:
    machine.has_python()
    machine.says("uv", "uv 0.13.9")
    (machine.folder / "checkout/.venv/.ready-tests").touch()

    assert machine.run().returncode == 0

    assert "--inexact --extra aws --extra clients --extra gcp" in machine.called()


def test_the_clients_sdks_are_installed_once_and_follow_the_lockfile(machine: Machine) -> None:
    """`make ask` runs it each time."""
    checkout = machine.folder / "checkout"
    program = f'case "$*" in *sys.executable*) echo {checkout}/.venv/bin/python;; esac'
    write_program(checkout / ".venv/bin/python", program)
    machine.says("uv", "uv 0.13.9")

    for _ in range(2):
        assert machine.run("clients").returncode == 0
    assert machine.called().count("--inexact --extra clients --python") == 1
    machine.run()
    assert machine.called().count("--inexact --extra clients --python") == 2

    (checkout / ".venv/.ready-clients").unlink()
    (checkout / ".venv/.ready-tests").touch()
    machine.run("clients")
    assert machine.called().count("--extra clients") == 2, "the tests' environment has them already"


@pytest.mark.parametrize("version", ["uv 0.4.30", None], ids=["too old", "missing"])
def test_without_a_usable_uv_the_pinned_one_is_installed_with_its_hash(machine: Machine, version: str | None) -> None:
    machine.has_python()
    if version:
        machine.says("uv", version)
    write_program(
        machine.bin / "python3",
        f'echo "python3 $*" >> {machine.calls}\n'
        f'case "$*" in *sys.executable*) echo "{machine.bin}/python3";;\n'
        '"-m venv "*) mkdir -p "$3/bin"; for p in python uv; do cp "$0" "$3/bin/$p"; done;; esac',
    )
    (machine.bin / "cp").symlink_to("/usr/bin/cp")

    done = machine.run()

    assert done.returncode == 0, done.stderr
    assert "--require-hashes --only-binary :all: --requirement tools/uv-requirements.txt" in machine.called()
    assert "sync --frozen" in machine.called().splitlines()[-1]


def test_a_user_without_root_reads_what_to_install(machine: Machine) -> None:
    machine.says("id", "1000")

    done = machine.run()

    assert done.returncode == 2
    assert "sudo apt-get install python3" in done.stderr


def test_root_gets_the_missing_packages(machine: Machine) -> None:
    machine.has_python()
    machine.says("uv", "uv 0.13.9")
    machine.says("apt-get", "")
    machine.says("git", "")

    done = machine.run("checks")

    assert done.returncode == 0, done.stderr
    assert "→ apt-get install shellcheck" in done.stderr
    assert re.search(r"apt-get .*install --yes --no-install-recommends shellcheck$", machine.called(), re.MULTILINE)


def test_a_failed_installation_fails(machine: Machine) -> None:
    machine.has_python()
    write_program(machine.bin / "uv", 'case "$1" in --version) echo "uv 0.13.9";; *) exit 1;; esac')

    done = machine.run()

    assert done.returncode == 2
    assert "uv could not install" in done.stderr
    assert not (machine.folder / "checkout/.venv/.ready").exists()


def test_the_pinned_uv_is_the_one_in_the_lock() -> None:
    lock = tomllib.loads((CHECKOUT / "uv.lock").read_text())
    locked = next(package for package in lock["package"] if package["name"] == "uv")
    pinned = (CHECKOUT / "tools/uv-requirements.txt").read_text()

    assert f"uv=={locked['version']} " in pinned
    hashes = {wheel["hash"] for wheel in locked["wheels"]}
    assert set(re.findall(r"--hash=(\S+)", pinned)) <= hashes
