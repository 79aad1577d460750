"""Decisions of the driver program, from facts alone. tests/machine/nvidia tests them on a host."""

from typing import Any

import pytest

from provisioning.programs.nvidia.llm_nvidia import chips, fabric
from provisioning.programs.nvidia.llm_nvidia.host import RefusedError
from provisioning.programs.nvidia.llm_nvidia.packages import missing, wanted_packages
from provisioning.programs.nvidia.llm_nvidia.verdict import decide, is_good
from provisioning.roles.host.nvidia_driver import NVIDIA
from tests.unit.provisioning.programs.nvidia.nvidia_facts import (
    B200,
    K80,
    KERNEL,
    L4,
    NEXT_KERNEL,
    OLD_KERNEL,
    OLLAMA,
    P100,
    T4,
    V100,
    WANTED,
    facts,
)

OURS = {"managed": True, "packages": {"nvidia-utils-580": "580.159.04", "bash": "5.2"}, "held": {"nvidia-utils-580"}}
UBUNTUS = {"packages": {"nvidia-driver-535-server": "535.183.06", "nvidia-dkms-535-server": "535.183.06"}}
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch"


def on_disk(version: str, *, library: str = "", kernel: str = KERNEL) -> dict[str, Any]:
    """Return an installed driver with a module for `kernel`."""
    return {"modules": {kernel: version}, "libraries": [library or version]}


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
        ({**OURS, "answered": ["580.100.01"] * 2}, False),
        ({**OURS, "answered": ["595.91.07"] * 2}, True),
        ({"answered": ["595.91.07"] * 2, "capabilities": ["7.0", "8.9"]}, False),
    ],
    ids=[
        "newer",
        "first-of-release",
        "older",
        "one-gpu-of-two",
        "silent",
        "ours",
        "ours-not-held",
        "ours-older-than-pinned",
        "ours-newer-than-pinned",
        "a-v100-beside",
    ],
)
def test_a_driver_is_good_enough(seen: dict[str, Any], good: bool) -> None:
    assert is_good(WANTED, facts(**seen)) is good


@pytest.mark.parametrize(
    ("seen", "action", "words"),
    [
        pytest.param({}, "install", "install driver 580.159.04", id="none"),
        pytest.param(OURS, "install", "install driver 580.159.04", id="ours-silent"),
        pytest.param({**OURS, "answered": ["580.100.01"] * 2}, "install", "580.159.04", id="ours-older"),
        pytest.param({"nouveau": True}, "install", "580.159.04", id="nouveau-and-no-driver"),
        pytest.param(
            {**on_disk("590.48.01"), "loaded": "580.95.05", "said": MISMATCH},
            "reboot",
            "driver 590.48.01 is installed, and driver 580.95.05 in use until a reboot",
            id="upgraded-and-not-rebooted",
        ),
        pytest.param(
            {**on_disk("590.48.01"), "loaded": "580.95.05", "answered": ["580.95.05"]},
            "reboot",
            "driver 590.48.01 is installed, and driver 580.95.05 in use",
            id="upgraded-with-one-gpu-still-answering",
        ),
        pytest.param(
            {**OURS, **on_disk("590.48.01"), "loaded": "580.159.04"},
            "reboot",
            "driver 590.48.01 is installed, and driver 580.159.04 in use",
            id="ours-that-its-owner-upgraded",
        ),
        pytest.param(
            {**on_disk("580.95.05"), "loaded": "590.48.01", "said": MISMATCH},
            "reboot",
            "driver 580.95.05 is installed, and driver 590.48.01 in use",
            id="downgraded-by-its-owner",
        ),
        pytest.param(
            {"modules_known": False, "packages": {"nvidia-dkms-590-open": "590.48.01"}, "loaded": "580.95.05"},
            "reboot",
            "driver 590.48.01 is installed, and driver 580.95.05 in use",
            id="known-by-its-packages-only",
        ),
        pytest.param(
            {**on_disk("590.48.01", kernel=NEXT_KERNEL), "loaded": ""},
            "reboot",
            f"driver 590.48.01 is installed, and kernel {KERNEL} in use until a reboot",
            id="built-for-the-next-kernel",
        ),
        pytest.param(
            {**on_disk("590.48.01"), "nouveau": True},
            "reboot",
            "driver 590.48.01 is installed, and nouveau in use until a reboot",
            id="nouveau-in-its-place",
        ),
        pytest.param(on_disk("590.48.01"), "load", "load driver 590.48.01", id="not-loaded"),
        pytest.param(
            {**on_disk("590.48.01", kernel=OLD_KERNEL)},
            "refuse",
            f"no module of it is built for kernel {KERNEL}; see `dkms status` and install linux-headers-{KERNEL}",
            id="dkms-failed",
        ),
        pytest.param(
            {**on_disk("535.171.04", library="535.183.06"), "loaded": "535.171.04", "said": MISMATCH},
            "refuse",
            "half upgraded: its library is 535.183.06 and its kernel module on disk 535.171.04; upgrade both together",
            id="prebuilt-modules-lag-behind",
        ),
        pytest.param(
            {**on_disk("590.48.01"), "loaded": "590.48.01", "said": "No devices were found"},
            "refuse",
            "driver 590.48.01, which was not installed by llm-deploy and does not work: nvidia-smi does not answer (No",
            id="loaded-and-silent",
        ),
        pytest.param(
            {**on_disk("590.48.01"), "loaded": "590.48.01", "answered": ["590.48.01"]},
            "refuse",
            "driver 590.48.01 answers for 1 of 2 GPUs, and was not installed by llm-deploy, so it is left alone",
            id="one-gpu-fell-off",
        ),
        pytest.param(
            {**UBUNTUS, **on_disk("535.183.06"), "loaded": "535.183.06", "answered": ["535.183.06"] * 2},
            "refuse",
            "driver 535.183.06, which was not installed by llm-deploy, and vllm needs 580 or newer; upgrade it, or wr",
            id="ubuntus-too-old",
        ),
        pytest.param(
            {"run_file": True, **on_disk("470.256.02"), "loaded": "470.256.02", "answered": ["470.256.02"] * 2},
            "refuse",
            "has driver 470.256.02, which was not installed by llm-deploy, and vllm needs 580",
            id="run-file-too-old",
        ),
        pytest.param(
            {"packages": {"nvidia-driver-cuda": "590.48.01"}}, "refuse", "a driver without a version", id="half-there"
        ),
        pytest.param({"gpus": 1}, "refuse", "1 NVIDIA GPUs are on the PCI bus, and 2 x L4 should be", id="one-gpu"),
        pytest.param(
            {"container": "lxc", "said": MISMATCH, "loaded": "590.48.01", "libraries": ["580.95.05"]},
            "refuse",
            "does not match the kernel module of the machine that runs it (library 580.95.05, module 590.48.01)",
            id="container-whose-host-was-upgraded",
        ),
        pytest.param({"container": "lxc"}, "refuse", "this container has no NVIDIA driver that works", id="container"),
        pytest.param(
            {"secure_boot": True},
            "refuse",
            "Secure Boot is on: the kernel would refuse a module built here",
            id="secure-boot",
        ),
        pytest.param(
            {"system": "debian-13"},
            "refuse",
            "llm-deploy installs drivers on debian-12, ubuntu-22.04, ubuntu-24.04, not on debian-13",
            id="system",
        ),
        pytest.param({"architecture": "ppc64el"}, "refuse", "install a driver of release 580 or newer", id="arch"),
        pytest.param({"devices": [V100, V100]}, "refuse", "vllm needs a GPU of compute capability 7.5", id="v100"),
    ],
)
def test_a_foreign_driver_is_never_replaced(seen: dict[str, Any], action: str, words: str) -> None:
    """An owner's 590, upgraded and waiting for a reboot, was downgraded to 580 and its module unloaded."""
    verdict = decide(WANTED, facts(**seen))
    assert (verdict.action, words in verdict.words) == (action, True), verdict.words
    assert "\n" not in verdict.words


@pytest.mark.parametrize(
    ("seen", "action", "words"),
    [
        (on_disk("590.48.01"), "install", "install driver 580.159.04"),
        ({**UBUNTUS, "answered": ["535.183.06"] * 2, "loaded": "535.183.06"}, "install", "580.159.04"),
        ({**OURS, "answered": ["595.91.07"] * 2}, "install", "580.159.04"),
        ({"run_file": True, "answered": ["470.256.02"] * 2}, "refuse", "installed by NVIDIA's .run file; remove it"),
        ({**UBUNTUS, "held": {"nvidia-driver-535-server"}}, "refuse", "on hold (nvidia-driver-535-server); `apt-mark"),
    ],
    ids=["newer", "older", "newer-of-ours", "run-file", "held"],
)
def test_the_inventory_can_allow_the_replacement(seen: dict[str, Any], action: str, words: str) -> None:
    verdict = decide({**WANTED, "replace": True}, facts(**seen))
    assert (verdict.action, words in verdict.words) == (action, True), verdict.words


def test_an_unsigned_module_under_secure_boot_is_reported_if_it_did_not_load() -> None:
    from provisioning.programs.nvidia.llm_nvidia.verdict import not_working

    said = not_working(WANTED, facts(**on_disk("590.48.01"), secure_boot=True), "this host has driver 590.48.01")
    assert "Secure Boot is on, and its module is not signed with an enrolled key" in said


@pytest.mark.parametrize(
    ("devices", "capabilities", "driver", "action"),
    [
        ([L4], ["8.9"], "550.54.14", "leave"),
        ([L4], ["8.9"], "545.23.08", "refuse"),
        ([V100], ["7.0"], "550.54.14", "leave"),
        ([P100], ["6.0"], "550.54.14", "refuse"),
        ([P100], [], "550.54.14", "refuse"),
        ([P100], ["6.0"], "570.86.10", "leave"),
        ([K80], ["3.7"], "470.256.02", "refuse"),
    ],
    ids=["l4", "l4-old-driver", "v100", "p100-550", "p100-unasked", "p100-570", "k80"],
)
def test_ollama_gets_a_driver_with_which_it_uses_the_gpu(
    devices: list[int], capabilities: list[str], driver: str, action: str
) -> None:
    """531 was accepted: Ollama then skips the GPU without an error, and computes on the CPU."""
    seen = facts(
        gpus=1, devices=devices, capabilities=capabilities, answered=[driver], loaded=driver, **on_disk(driver)
    )
    assert decide({**OLLAMA, "gpus": 1}, seen).action == action


@pytest.mark.parametrize("system", sorted(NVIDIA.repositories))
@pytest.mark.parametrize(
    ("devices", "module"),
    [([L4], "open"), ([T4, L4], "open"), ([V100], "proprietary"), ([P100, L4], "proprietary"), ([], "open")],
    ids=["l4", "turing", "v100", "pascal-beside", "unknown"],
)
def test_gpus_before_turing_get_the_proprietary_module(system: str, devices: list[int], module: str) -> None:
    """A V100 got the open module, which supports only Turing and newer."""
    chosen = wanted_packages(WANTED, facts(system=system, devices=devices))
    assert WANTED["repositories"][system][f"{module}_module"] in chosen
    assert len([name for name in chosen if "dkms-" in name or name.endswith("-dkms")]) == 1


@pytest.mark.parametrize(
    ("devices", "words"),
    [([K80], "older than Maxwell"), ([V100, B200], "no kernel module drives both"), ([V100, L4], "")],
    ids=["kepler", "volta-and-blackwell", "volta-and-ada"],
)
def test_gpus_without_a_module_are_refused(devices: list[int], words: str) -> None:
    said = chips.no_module(facts(devices=devices))
    assert words in said
    assert bool(words) == bool(said)


HGX_H100, HGX_B200 = {"switches": 4, "devices": [0x2330] * 8}, {"devices": [B200] * 8}


@pytest.mark.parametrize(
    ("seen", "names", "none_of"),
    [
        (HGX_H100, ["nvidia-fabricmanager"], ["nvlsm"]),
        (HGX_B200, ["nvidia-fabricmanager", "nvlsm", "infiniband-diags"], []),
        ({"devices": [0x3182] * 8}, ["nvidia-fabricmanager", "nvlsm"], []),
        ({"bridges": 2, "devices": [B200]}, ["nvlsm"], []),
        ({"devices": [B200]}, [], ["nvidia-fabricmanager", "nvlsm"]),
        ({"devices": [0x2941] * 4}, [], ["nvidia-fabricmanager", "nvlsm"]),
        ({}, [], ["nvidia-fabricmanager"]),
    ],
    ids=["h100", "b200", "b300", "bridges", "one-b200-of-a-virtual-machine", "gb200-of-a-rack", "l4"],
)
def test_machines_with_nvlink_switches_get_the_fabric_packages(
    seen: dict[str, Any], names: list[str], none_of: list[str]
) -> None:
    """Only switches on the PCI bus counted: an HGX B200 has none there, and CUDA failed with error 802."""
    for system in WANTED["repositories"]:
        chosen = wanted_packages(WANTED, facts(system=system, **seen))
        assert set(names) <= set(chosen)
        assert not set(none_of) & set(chosen)


def test_a_fabric_without_its_programs_is_refused_with_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fabric, "output", lambda *_: "")
    with pytest.raises(
        RefusedError, match=r"nvidia-fabricmanager and nvlsm is not installed, so CUDA would end with err"
    ):
        fabric.bring(WANTED, facts(**HGX_B200, answered=["580.95.05"] * 8))
    assert not fabric.is_up(WANTED, facts(**HGX_B200))
    assert fabric.is_up(WANTED, facts())


@pytest.mark.parametrize(
    ("states", "up"),
    [(["Completed"] * 8, True), (["Completed", "In Progress"], False), (["Not Started"], False), ([], True)],
    ids=["completed", "one-behind", "not-started", "a-driver-that-cannot-say"],
)
def test_a_fabric_is_up_when_each_gpu_has_joined_it(
    states: list[str], up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fabric, "output", lambda *_: "active\n")
    monkeypatch.setattr(fabric, "ask_driver", lambda _: (states, ""))
    assert fabric.is_up(WANTED, facts(**HGX_B200)) is up


def test_a_pinned_version_missing_in_the_repository_is_reported_and_no_other_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has = {"nvidia-utils-580": "580.173.02-1ubuntu1", "dkms": "3.0.11-1", "nvidia-modprobe": "595.71.05-1"}
    monkeypatch.setattr("provisioning.programs.nvidia.llm_nvidia.packages.candidate", lambda name: has.get(name, ""))
    said = missing(WANTED, ["dkms", "nvidia-modprobe", "nvidia-utils-580"], [])
    assert said.startswith(
        "driver 580.159.04 is no longer in the repository, which has 580.173.02-1ubuntu1 (nvidia-utils-580)"
    )
    said = missing(WANTED, ["nvlsm"], ["Err:1 http://mirror.invalid noble InRelease"])
    assert said == "apt has no nvlsm (Err:1 http://mirror.invalid noble InRelease); see `apt-get update`"
    has["nvidia-utils-580"] = "580.159.04-1ubuntu1"
    assert missing(WANTED, list(has), []) == ""
