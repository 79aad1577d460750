"""Facts of hosts in, refusals, plan and notes out: cases/hosts.yaml."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from core.ports import SSH_PORT
from core.reading.words import error_of
from infra.contract.outputs import Gpu
from provisioning.existing.verdict import kept_open, notes, plan, refusals
from provisioning.hosts.facts import HostFacts
from provisioning.hosts.gpu_names import gpu_model

CASES = yaml.safe_load((Path(__file__).parent / "cases/hosts.yaml").read_text())

MACHINE = {
    "os_id": "debian",
    "os_version": "12",
    "kernel": "6.1.0-31-amd64",
    "arch": "x86_64",
    "python": "3.11",
    "cpu_count": 8,
    "memory_bytes": 32 << 30,
    "disk_free_bytes": 100 << 30,
    "has_systemd": True,
}


def cases(*, refused: bool) -> list[Any]:
    return [pytest.param(each, id=each["case"]) for each in CASES if ("refused" in each) is refused]


@pytest.mark.parametrize("case", cases(refused=True))
def test_a_host_that_cannot_be_provisioned_is_refused(case: dict[str, Any]) -> None:
    reasons = list(refusals(HostFacts(**MACHINE | case["facts"])))
    assert len(reasons) == len(case["refused"])
    for reason, words in zip(reasons, case["refused"], strict=True):
        assert words in f"{reason.what}; {reason.hint}"
    error = error_of(reasons, "root@203.0.113.7")
    assert error.exit_code == 2
    assert str(error).startswith("root@203.0.113.7: ")


@pytest.mark.parametrize("case", cases(refused=False))
def test_a_host_that_can_be_provisioned_is_described(case: dict[str, Any]) -> None:
    facts = HostFacts(**MACHINE | case["facts"])
    assert list(refusals(facts)) == []
    chosen = plan(facts)
    assert facts.virtualization == case["virtualization"]
    assert chosen.engine == case["engine"]
    assert chosen.gateway_port == case.get("gateway_port", 443)
    assert chosen.engine_port == case.get("engine_port", 8000)
    assert facts.gpu == (Gpu(**case["gpu"]) if "gpu" in case else None)
    assert "open_ports" not in case or list(kept_open(facts, SSH_PORT)) == case["open_ports"]
    reported = list(notes(facts, chosen))
    assert len(reported) == len(case["notes"]), reported
    assert all(any(words in note for note in reported) for words in case["notes"]), reported


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("Tesla T4", "T4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA RTX A6000", "RTX A6000"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "RTX 4090 Laptop GPU"),
        ("NVIDIA GeForce RTX 3060", "RTX 3060"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090 D", "RTX 4090 D"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40", "L40"),
        ("NVIDIA L40G", "L40G"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA A40", "A40"),
        ("NVIDIA A40-48Q", "A40-48Q"),
        ("NVIDIA L4-24C", "L4-24C"),
        ("GRID T4-16Q", "T4-16Q"),
        ("GRID A100-10C", "A100-10C"),
        ("NVIDIA A100-1-5C", "A100-1-5C"),
        ("NVIDIA A10-24Q", "A10-24Q"),
        ("NVIDIA RTX A6000-48Q", "RTX A6000-48Q"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "A100-SXM4-40GB MIG 1g.5gb"),
        ("NVIDIA A100-PCIE-40GB", "A100-40GB"),
        ("NVIDIA A100-SXM-64GB", "A100-SXM-64GB"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "H100 80GB HBM3 MIG 1g.10gb"),
        ("NVIDIA H200 NVL", "H200 NVL"),
        ("Quadro RTX 6000", "RTX 6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada Generation"),
    ],
)
def test_the_names_of_the_driver_become_those_of_the_gpu_table(name: str, model: str) -> None:
    assert gpu_model(name) == model
