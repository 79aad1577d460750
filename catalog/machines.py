"""Machine types with processors, memory and GPUs, as frozen rows of catalog/data. Knows no price, calls no cloud.

A new row goes into the CSV with its source and date. Memory sizes in GiB, as the cloud reports them.
"""

import difflib
from dataclasses import dataclass
from functools import cache

from catalog.tables import rows
from core.errors import DeployError

LONGEST_TYPE = 100
"""Characters of an unknown name that are compared: more than any machine type has."""

NEAREST = 3
"""Number of suggestions for an unknown name."""


@dataclass(frozen=True, kw_only=True)
class GpuModel:
    """One model of graphics processor."""

    name: str
    vram_gib: float | None
    """Memory as the cloud reports it; None if no cloud of this project offers the GPU."""
    compute_capability: tuple[int, int]
    bf16: bool
    """Whether it supports bfloat16 (compute capability 8.0 or higher)."""
    min_driver_for_cuda_12_9: int
    min_driver_for_cuda_13: int


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine type of a cloud."""

    cloud: str
    type: str
    vcpus: int
    memory_gib: float
    arch: str
    gpu: GpuModel | None
    gpu_count: int
    vram_gib_per_gpu: float
    """Memory of one GPU, 0 without one."""
    local_ssd_gb: int = 0
    """Local SSDs of the machine. They lose their content when it stops."""

    @property
    def family(self) -> str:
        """The family of the type, e.g. `g5` or `g2`."""
        return self.type.split("." if self.cloud == "aws" else "-")[0]

    @property
    def vram_gib(self) -> float:
        """Memory of all GPUs together."""
        return self.gpu_count * self.vram_gib_per_gpu


@cache
def gpu_models() -> dict[str, GpuModel]:
    """Return the known GPUs by name, e.g. `L4`."""
    return {row["gpu"]: _gpu(row) for row in rows("gpu_facts.csv")}


@cache
def machines() -> dict[tuple[str, str], Machine]:
    """Return the known machine types by cloud and name."""
    return {(row["cloud"], row["machine_type"]): _machine(row) for row in rows("machine_types.csv")}


def find_machine(cloud: str, machine_type: str) -> Machine | None:
    """Return the row of a machine type; None if it is not known."""
    return machines().get((cloud, machine_type))


def placed_machine(cloud: str, machine_type: str) -> Machine:
    """Return the row of the type of an existing machine. Raises DeployError if the table no longer has it."""
    machine = find_machine(cloud, machine_type)
    if machine is None:
        what = f"has no row for {machine_type} of {cloud}, which this stack uses"
        raise DeployError(what, where="catalog/data/machine_types.csv", hint="restore its row")
    return machine


def nearest_types(cloud: str, wrong: str) -> list[str]:
    """Return the known types of `cloud` with the nearest names to `wrong`, nearest first; at least one."""
    known = [machine_type for of, machine_type in machines() if of == cloud]
    return difflib.get_close_matches(wrong[:LONGEST_TYPE], known, n=NEAREST, cutoff=0)


def _gpu(row: dict[str, str]) -> GpuModel:
    major, minor = row["compute_capability"].split(".")
    return GpuModel(
        name=row["gpu"],
        vram_gib=float(row["vram_gib"]) if row["vram_gib"] else None,
        compute_capability=(int(major), int(minor)),
        bf16=row["bf16"] == "true",
        min_driver_for_cuda_12_9=int(row["min_driver_for_cuda_12_9"]),
        min_driver_for_cuda_13=int(row["min_driver_for_cuda_13"]),
    )


def _machine(row: dict[str, str]) -> Machine:
    return Machine(
        cloud=row["cloud"],
        type=row["machine_type"],
        vcpus=int(row["vcpu"]),
        memory_gib=float(row["memory_gib"]),
        arch=row["arch"],
        gpu=gpu_models()[row["gpu"]] if row["gpu"] else None,
        gpu_count=int(row["gpu_count"]),
        vram_gib_per_gpu=float(row["vram_gib_per_gpu"] or 0),
        local_ssd_gb=int(row["local_ssd_gb"] or 0),
    )
