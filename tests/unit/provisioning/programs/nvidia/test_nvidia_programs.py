"""Decisions of the driver's programs, from facts alone: no host is changed, and no GPU is needed."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.paths import CHECKOUT
from provisioning.programs.nvidia.llm_nvidia import kernels, packages
from provisioning.programs.nvidia.llm_nvidia.host import RefusedError
from provisioning.programs.nvidia.llm_nvidia.packages import others_stay, repository
from tests.unit.provisioning.programs.nvidia.nvidia_facts import WANTED, facts


@pytest.mark.parametrize(
    ("system", "architecture", "uri"),
    [
        ("ubuntu-22.04", "amd64", "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2204/x86_64/"),
        ("ubuntu-24.04", "arm64", "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/sbsa/"),
        ("debian-12", "amd64", "https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/"),
    ],
)
def test_each_system_has_its_repository_and_trusts_one_key_for_it(system: str, architecture: str, uri: str) -> None:
    entry = repository(WANTED, facts(system=system, architecture=architecture))
    assert entry == f"Types: deb\nURIs: {uri}\nSuites: /\nSigned-By: /key.asc\n"


@pytest.mark.parametrize(
    ("changed", "stays"),
    [({}, True), ({"managed": True}, False), ({"system": "debian-13"}, False)],
    ids=["of-others", "ours", "no-repository"],
)
def test_apt_may_not_replace_a_foreign_driver(changed: dict[str, Any], stays: bool) -> None:
    """NVIDIA's repository was added on a host whose driver was kept, and the next upgrade replaced that driver."""
    limits = others_stay(WANTED, facts(**changed))
    assert ('Package: *\nPin: origin "developer.download.nvidia.com"\nPin-Priority: -1\n' in limits) is stays
    assert ("Package: datacenter-gpu-manager*" in limits) is stays


AWS = ["linux-aws", "linux-image-aws", "linux-image-6.17.0-1012-aws", "linux-image-6.14.0-1017-aws", "bash"]
CLOUD = ["linux-image-cloud-amd64", "linux-image-6.1.0-40-cloud-amd64", "linux-image-6.1.0-40-cloud-amd64-dbg"]


@pytest.mark.parametrize(
    ("running", "installed", "lacks", "chosen"),
    [
        ("6.17.0-1012-aws", AWS, [], "6.17.0-1012-aws linux-headers-6.17.0-1012-aws linux-headers-aws"),
        ("6.14.0-1017-aws", AWS, ["6.14.0-1017"], "6.17.0-1012-aws linux-headers-6.17.0-1012-aws linux-headers-aws"),
        (
            "6.1.0-40-cloud-amd64",
            CLOUD,
            [],
            "6.1.0-40-cloud-amd64 linux-headers-6.1.0-40-cloud-amd64 linux-headers-cloud-amd64",
        ),
        ("6.8.0-45-generic", [], [], "6.8.0-45-generic linux-headers-6.8.0-45-generic linux-headers-generic"),
        ("6.12.9+bpo-cloud-amd64", [], ["cloud-amd64"], ""),
        (
            "6.14.0-24-generic",
            ["linux-image-generic-hwe-24.04", "linux-image-unsigned-6.14.0-24-generic"],
            [],
            "6.14.0-24-generic linux-headers-6.14.0-24-generic linux-headers-generic-hwe-24.04",
        ),
        ("6.6.0-custom", ["linux-image-6.6.0-custom"], ["custom"], ""),
    ],
    ids=["aws", "headers-of-the-running-one-gone", "debian-cloud", "no-meta", "backport", "hwe", "custom"],
)
def test_headers_fit_the_kernel_and_follow_its_updates(
    running: str, installed: list[str], lacks: list[str], chosen: str
) -> None:
    def in_apt(package: str) -> bool:
        return not any(part in package for part in lacks)

    assert " ".join(kernels.choose(running, installed, lambda _: False, in_apt)) == chosen


def with_apt(monkeypatch: pytest.MonkeyPatch, host: SimpleNamespace, status: int = 0) -> list[tuple[str, ...]]:
    """Let `install` run on `host` with an apt that exits with `status`; return the list of its commands."""
    called: list[tuple[str, ...]] = []
    for name, answer in {"mend": "", "update_lists": [], "missing": "", "in_apt": True, "look": host}.items():
        monkeypatch.setattr(packages, name, lambda *_, answer=answer: answer)
    for name in ("name_repository", "pin"):
        monkeypatch.setattr(packages, name, lambda *_: None)

    def finish(*argv: str) -> int:
        called.append(argv)
        return status

    monkeypatch.setattr(packages, "finish", finish)
    monkeypatch.setattr(packages, "must", lambda *argv: called.append(argv))
    return called


def test_headers_on_hold_are_not_passed_to_apt(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A host with a held kernel got no driver: apt reported that held packages would change, and stopped."""
    kernel, meta = "linux-headers-6.8.0-45-generic", "linux-headers-generic"
    host = facts(kernel="6.8.0-45-generic", packages={meta: "6.8.0", "linux-image-generic": "6.8.0"}, held={meta})
    called = with_apt(monkeypatch, host)
    assert packages.install({**WANTED, "root": "/"}, host) == "6.8.0-45-generic"
    assert kernel in called[0]
    assert meta not in called[0]
    assert capfd.readouterr().out.startswith(f"warning: {meta}: on hold")


OLD, NEW = "580.95.05", WANTED["version"]
DRIVER = ("libnvidia-compute-580", "nvidia-compute-utils-580", "nvidia-utils-580", "nvidia-dkms-580-open")
BEFORE = dict.fromkeys(DRIVER, f"installed {OLD}-1ubuntu1")
AFTER = dict.fromkeys(DRIVER, f"installed {NEW}-1ubuntu1")


@pytest.mark.parametrize(
    ("found", "is_there"),
    [
        pytest.param(BEFORE, False, id="none moved"),
        pytest.param({**BEFORE, DRIVER[0]: AFTER[DRIVER[0]]}, False, id="one moved"),
        pytest.param({**AFTER, DRIVER[3]: f"half-configured {NEW}-1ubuntu1"}, False, id="one not configured"),
        pytest.param({**AFTER, DRIVER[0]: f"installed {NEW}0-1ubuntu1"}, False, id="a longer version"),
        pytest.param({**AFTER, "linux-headers-generic": ""}, False, id="no headers"),
        pytest.param(AFTER, True, id="all moved"),
        pytest.param({**AFTER, DRIVER[0]: f"installed 1:{NEW}-1ubuntu1"}, True, id="an epoch"),
    ],
)
def test_if_apt_fails_only_the_pinned_version_counts_as_installed(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, str], is_there: bool
) -> None:
    """A raised pin hid apt's failure: the old packages counted, and a host rebooted for nothing."""
    kernel = "6.8.0-45-generic"
    there = {name: NEW if NEW + "-" in words else OLD for name, words in {**AFTER, **found}.items() if name in DRIVER}
    host = facts(kernel=kernel, packages={"linux-image-generic": "6.8.0", **there})
    called = with_apt(monkeypatch, host, status=100)
    # Packages that the distribution also has, in its own versions.
    theirs = dict.fromkeys(
        ("dkms", "nvidia-modprobe", f"linux-headers-{kernel}", "linux-headers-generic"), "installed 1"
    )

    def dpkg_query(*argv: str) -> str:
        status, _, version = {**theirs, **found}[argv[-1]].partition(" ")
        return argv[3].replace("${db:Status-Status}", status).replace("${Version}", version)

    monkeypatch.setattr(packages, "output", dpkg_query)
    if is_there:
        assert packages.install({**WANTED, "root": "/"}, host) == kernel
        assert called[1] == ("apt-mark", "hold", *sorted(name for name in DRIVER if there[name] == NEW))
        return
    with pytest.raises(RefusedError, match=r"^`apt-get install libnvidia-compute-580 .*ended with status 100$"):
        packages.install({**WANTED, "root": "/"}, host)
    assert len(called) == 1


def test_a_custom_kernel_with_headers_beside_it_is_accepted() -> None:
    assert kernels.choose("6.6.0-custom", [], lambda _: True, lambda _: False) == ["6.6.0-custom"]


def test_a_package_change_continues_if_the_connection_and_the_program_end(tmp_path: Path) -> None:
    """The agent stops a command with its whole process group; apt is outside that group."""
    done = tmp_path / "done"
    script = (
        "from provisioning.programs.nvidia.llm_nvidia.host import finish\n"
        f"finish('sh', '-c', 'echo begun; while [ -d /proc/$PPID ]; do :; done; touch {done}')"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", script], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "begun\n"
    os.killpg(program.pid, signal.SIGKILL)
    program.wait()
    program.stdout.read()  # ends when the last process that may write to it has ended
    program.stdout.close()
    assert done.exists()
