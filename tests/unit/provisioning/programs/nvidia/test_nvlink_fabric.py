"""The NVLink fabric of a host: the facts of its program, and the line in status."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from provisioning.operate import status as status_module
from provisioning.operate.fabric_status import read_fabric
from provisioning.operate.status_screen import screen
from provisioning.programs.nvidia import nvlink_fabric
from provisioning.programs.nvidia.llm_nvidia import chips, facts
from provisioning.programs.nvidia.llm_nvidia import fabric as role
from tests.unit.provisioning.operate.test_status import GPU, report, status
from tests.unit.provisioning.records import host_values, stack

H100 = {"vendor": "0x10de", "device": "0x2330", "class": "0x030200"}
B200 = {"vendor": "0x10de", "device": "0x2901", "class": "0x030200"}
SWITCH = {"vendor": "0x10de", "device": "0x22a3", "class": "0x068000"}
OTHER_BRIDGE = {"vendor": "0x8086", "device": "0x1901", "class": "0x068000"}
CONNECTX = {"vendor": "0x15b3", "device": "0x1021", "class": "0x020700"}

HOSTS = {
    "HGX H100": ([H100, H100, SWITCH], True),
    "H100 on PCIe": ([H100, H100, OTHER_BRIDGE], False),
    "HGX B200": ([B200, B200], True),
    "one B200 of it": ([B200], False),
    "a bridge to switches": ([B200, {**CONNECTX, "vpd": "x SW_MNG y"}], True),
    "a network card": ([B200, CONNECTX, {**CONNECTX, "vpd": "x"}], False),
}


@pytest.mark.parametrize(("devices", "found"), HOSTS.values(), ids=HOSTS)
def test_switches_are_seen_on_the_pci_bus(tmp_path: Path, devices: list[dict[str, str]], found: bool) -> None:
    for index, device in enumerate(devices):
        (tmp_path / str(index)).mkdir()
        for name, text in device.items():
            (tmp_path / str(index) / name).write_text(text)
    assert nvlink_fabric.has_switches(tmp_path) is found


def test_gpus_and_switches_are_counted_even_without_device_numbers(tmp_path: Path) -> None:
    bus = tmp_path / "sys/bus/pci/devices"
    for index, device in enumerate([H100, {**B200, "device": "?"}, SWITCH, OTHER_BRIDGE, CONNECTX]):
        (bus / str(index)).mkdir(parents=True)
        for name, text in device.items():
            (bus / str(index) / name).write_text(text + "\n")
    gpus = facts.pci_folders(tmp_path, *facts.GPU_CLASSES)
    assert (len(gpus), facts.device_numbers(gpus)) == (2, [0x2330])
    assert len(facts.pci_folders(tmp_path, facts.SWITCH_CLASS)) == 1


def test_the_program_knows_the_machines_that_the_role_knows() -> None:
    assert nvlink_fabric.NVLINK5 == chips.NVLINK5
    assert nvlink_fabric.SWITCH_CLASS == facts.SWITCH_CLASS
    assert nvlink_fabric.UNIT == role.UNIT
    bridge = (nvlink_fabric.BRIDGE_VENDOR, nvlink_fabric.BRIDGE_DEVICE, nvlink_fabric.BRIDGE_MARK)
    assert bridge == (facts.BRIDGE_VENDOR, facts.BRIDGE_DEVICE, facts.BRIDGE_MARK)


SHOWN = {
    "no fabric": ("N/A, N/A\nN/A, N/A\n", None),
    "an old driver": ("", None),
    "joined": ("Completed, Success\n", [["Completed", "Success"]]),
    "one is behind": (
        "Completed, Success\nIn Progress, N/A\n",
        [["Completed", "Success"], ["In Progress", "N/A"]],
    ),
}


@pytest.mark.parametrize(("said", "states"), SHOWN.values(), ids=SHOWN)
def test_a_gpu_without_a_fabric_has_no_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, states: list[list[str]] | None
) -> None:
    unit = "LoadState=loaded\nActiveState=active\n"
    monkeypatch.setattr(nvlink_fabric, "output", lambda *argv: unit if argv[0] == "systemctl" else said)
    seen = nvlink_fabric.fabric(tmp_path)
    assert seen == (states and {"has_switches": False, "manager": "active", "states": states})


JOINED = ["Completed", "Success"]
FABRICS: dict[str, tuple[dict[str, Any], str]] = {
    "joined": ({}, ""),
    "A100, whose driver tells no state": ({"states": []}, ""),
    "manager failed": ({"manager": "failed"}, "nvidia-fabricmanager is failed, so CUDA ends with error 802"),
    "manager is missing": ({"manager": "", "states": []}, "nvidia-fabricmanager is not installed"),
    "one is behind": (
        {"states": [JOINED, ["In Progress", "N/A"]]},
        "has not joined the NVLink fabric (state In Progress)",
    ),
    "one failed": ({"states": [JOINED, ["Completed", "Insufficient Resources"]]}, "(Insufficient Resources)"),
    "shared switches": ({"has_switches": False, "manager": ""}, ""),
    "shared switches, not joined": (
        {"has_switches": False, "manager": "", "states": [["Not Started", "N/A"]]},
        "(state Not Started)",
    ),
    "GPUs of B200 in a virtual machine": ({"manager": ""}, ""),
}


@pytest.mark.parametrize(("changed", "problem"), FABRICS.values(), ids=FABRICS)
def test_a_host_whose_gpus_have_not_joined_does_not_serve(changed: dict[str, Any], problem: str) -> None:
    """`make status` had no line for the fabric: a failed manager looked like an engine that dies with error 802."""
    seen = {"has_switches": True, "manager": "active", "states": [JOINED, JOINED], **changed}
    found = status(gpus=[GPU], fabric=seen)
    assert found.serves is (problem == "")
    assert problem in found.missing
    (line,) = (line for line in screen(found).splitlines() if " fabric " in line)
    assert line.startswith("!" if problem else " ")
    assert problem in line
    fabric = read_fabric(seen)
    assert fabric is not None
    assert found.as_json()["fabric"] == asdict(fabric)


def test_a_host_without_a_fabric_has_no_line() -> None:
    assert " fabric " not in screen(status(gpus=[GPU]))
    assert " fabric " not in screen(status(gpus=[GPU], fabric=None))


@pytest.mark.parametrize("gpu", [None, {"model": "H100", "count": 8, "vram_gib": 79.65}], ids=["CPU", "GPU"])
def test_status_checks_hosts_with_a_gpu(monkeypatch: pytest.MonkeyPatch, gpu: dict[str, Any] | None) -> None:
    asked: list[str] = []

    def answer(_: object, __: object, name: str, *_words: str) -> dict[str, Any]:
        asked.append(name)
        return report(unseen={}) if name == "host/status_report" else {"fabric": None}

    monkeypatch.setattr(status_module, "ask_program", answer)
    outputs = stack(host_values(cloud="aws", gpu=gpu))
    nothing: Any = None
    assert status_module.ask(nothing, outputs, outputs.hosts[0]).fabric is None
    assert asked == ["host/status_report", *(["nvidia/nvlink_fabric"] if gpu else [])]


def test_the_program_prints_an_object(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvlink_fabric, "fabric", lambda _: None)
    nvlink_fabric.main()
    assert json.loads(capsys.readouterr().out) == {"fabric": None}
