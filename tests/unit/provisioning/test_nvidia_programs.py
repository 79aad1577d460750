"""What the driver's programs decide, from facts alone: no host is changed, and none with a GPU is needed."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.paths import CHECKOUT
from provisioning.programs.llm_nvidia import kernels
from provisioning.programs.llm_nvidia.packages import others_stay, repository
from provisioning.programs.llm_nvidia.verdict import is_good, refusal
from provisioning.roles.nvidia_driver import NVIDIA

WANTED: dict[str, Any] = {
    "minimum": "580",
    "version": "580.159.04",
    "gpu": "L4",
    "gpus": 2,
    "container": False,
    "key": "/key.asc",
    "repositories": {name: {"uri": each.uri} for name, each in NVIDIA.repositories.items()},
}
BARE: dict[str, Any] = {
    "answered": [],
    "gpus": 2,
    "secure_boot": False,
    "managed": False,
    "run_file": False,
    "system": "ubuntu-24.04",
    "architecture": "amd64",
    "packages": {},
    "held": set(),
}
OURS = {"managed": True, "packages": {"nvidia-utils-580": "580.159.04", "bash": "5.2"}, "held": {"nvidia-utils-580"}}


def facts(**changed: Any) -> SimpleNamespace:
    return SimpleNamespace(**{**BARE, **changed})


@pytest.mark.parametrize(
    ("seen", "good"),
    [
        ({"answered": ["595.91.07", "595.91.07"]}, True),
        ({"answered": ["580.65.06", "580.65.06"]}, True),
        ({"answered": ["575.57.08", "575.57.08"]}, False),
        ({"answered": ["595.91.07"]}, False),
        ({"answered": []}, False),
        ({**OURS, "answered": ["580.159.04"] * 2}, True),
        ({**OURS, "answered": ["580.159.04"] * 2, "held": set()}, False),
        ({**OURS, "answered": ["595.91.07"] * 2}, False),
    ],
    ids=["newer", "first-of-release", "older", "one-gpu-of-two", "silent", "ours", "ours-not-held", "ours-not-pinned"],
)
def test_a_driver_is_good_enough(seen: dict[str, Any], good: bool) -> None:
    assert is_good(WANTED, facts(**seen)) is good


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ""),
        ({"answered": ["470.256.02"] * 2}, ""),
        ({"gpus": 1}, "1 NVIDIA GPUs are on the PCI bus, and 2 x L4 should be; choose a machine type with GPUs"),
        ({"run_file": True, "answered": ["470.256.02"]}, "has driver 470.256.02, put there by NVIDIA's .run file"),
        ({"secure_boot": True}, "Secure Boot is on: the kernel would refuse one that is built here; turn"),
        (
            {"system": "debian-13"},
            "drivers are installed on debian-12, ubuntu-22.04, ubuntu-24.04, and this is debian-13",
        ),
        ({"architecture": "ppc64el"}, "install a driver of release 580 or newer by hand"),
    ],
    ids=["can", "too-old", "one-gpu-of-two", "run-file", "secure-boot", "system", "architecture"],
)
def test_hosts_that_can_have_no_driver_are_told_why(changed: dict[str, Any], words: str) -> None:
    said = refusal(WANTED, facts(**changed))
    assert words in said
    assert bool(words) == bool(said)


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
def test_apt_may_not_swap_a_driver_of_others(changed: dict[str, Any], stays: bool) -> None:
    """Once NVIDIA's repository was named beside a driver that was left alone, and the next upgrade replaced it."""
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


def test_a_kernel_of_ones_own_with_headers_beside_it_will_do() -> None:
    assert kernels.choose("6.6.0-custom", [], lambda _: True, lambda _: False) == ["6.6.0-custom"]


def test_a_package_change_goes_on_when_the_connection_and_with_it_the_program_end(tmp_path: Path) -> None:
    """The agent ends a command with all of its process group; apt is in none of them."""
    done = tmp_path / "done"
    script = (
        "from provisioning.programs.llm_nvidia.host import finish\n"
        f"finish('sh', '-c', 'echo begun; while [ -d /proc/$PPID ]; do :; done; touch {done}')"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", script], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "begun\n"
    os.killpg(program.pid, signal.SIGKILL)
    program.wait()
    program.stdout.read()  # ends when the last one that may write to it has ended
    program.stdout.close()
    assert done.exists()
