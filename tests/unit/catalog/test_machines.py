"""The tables of machine types and GPUs."""

import pytest

from catalog.machines import GpuModel, Machine, find_machine, gpu_models, machines, nearest_types
from catalog.tables import rows


@pytest.mark.parametrize("machine", machines().values(), ids=lambda machine: f"{machine.cloud} {machine.type}")
def test_every_row_is_plausible(machine: Machine) -> None:
    """This test covers each new row too."""
    assert machine.cloud in ("aws", "gcp")
    assert machine.vcpus >= 1
    assert 0.9 <= machine.memory_gib / machine.vcpus <= 32
    assert machine.arch in ("x86_64", "arm64")
    assert (machine.gpu is None) == (machine.gpu_count == 0) == (machine.vram_gib == 0)
    if machine.gpu is not None:
        assert machine.vram_gib_per_gpu == pytest.approx(machine.gpu.vram_gib, rel=0.1)
    assert find_machine(machine.cloud, machine.type) is machine


@pytest.mark.parametrize("gpu", gpu_models().values(), ids=lambda gpu: gpu.name)
def test_every_gpu_computes_what_its_capability_says(gpu: GpuModel) -> None:
    """bfloat16 from 8.0 up."""
    assert gpu.bf16 == (gpu.compute_capability >= (8, 0))
    assert gpu.min_driver_for_cuda_12_9 < gpu.min_driver_for_cuda_13


@pytest.mark.parametrize("table", ["machine_types.csv", "gpu_facts.csv"])
def test_every_row_names_its_source_and_is_unique(table: str) -> None:
    """A figure without a source cannot be checked."""
    assert all(row["source"] for row in rows(table))
    keys = [(row.get("cloud"), row.get("machine_type") or row["gpu"]) for row in rows(table)]
    assert len(set(keys)) == len(keys)


def test_the_machines_of_the_known_stacks_are_there() -> None:
    """The types that users asked for."""
    for machine_type in (
        "t3.xlarge",
        "m6i.2xlarge",
        "r6i.4xlarge",
        "r5.16xlarge",
        "m5.16xlarge",
        "g4dn.xlarge",
        "g5.16xlarge",
    ):
        assert find_machine("aws", machine_type), machine_type
    assert find_machine("gcp", "g2-standard-4")
    assert find_machine("gcp", "g5.xlarge") is None


def test_sums_and_families() -> None:
    """Values that are derived from a row."""
    g5 = machines()["aws", "g5.12xlarge"]
    assert (g5.family, g5.gpu_count) == ("g5", 4)
    assert g5.vram_gib == pytest.approx(89.4)
    assert machines()["gcp", "n1-standard-8+nvidia-tesla-t4"].family == "n1"


def test_the_nearest_names_are_of_the_same_cloud() -> None:
    """Three names, nearest first, also for a word that is like no name."""
    assert nearest_types("aws", "g5.xlrage")[0] == "g5.xlarge"
    for wrong in ("g5.xlarge", "???"):
        near = nearest_types("gcp", wrong)
        assert len(near) == 3
        assert all(find_machine("gcp", name) for name in near)
