"""What was seen of a host that exists already. Values only: the host is looked at by provisioning/programs."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from infra.machines import gpu_models
from infra.outputs import Gpu

GIB = 1024**3
MIB_PER_GIB = 1024


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Listener(_Fact):
    """A TCP port that somebody listens on."""

    port: int
    loopback: bool
    program: str = ""
    """Name of the process; empty when it cannot be told (WSL's host, another container)."""


class NvidiaGpu(_Fact):
    """One GPU as NVIDIA's driver tells of it."""

    name: str
    memory_mib: int
    driver: str


class NvidiaSmi(_Fact):
    """What nvidia-smi said."""

    gpus: tuple[NvidiaGpu, ...] = ()
    error: str = ""


class HostFacts(_Fact):
    """One host, as provisioning/programs/look_at_host.py prints it."""

    hostname: str = "host"
    os_id: str
    os_version: str
    os_name: str = ""
    kernel: str
    arch: str
    python: str
    cpu_count: int
    memory_bytes: int
    disk_free_bytes: int
    has_systemd: bool
    init: str = "systemd"
    container: str = ""
    virtual_machine: str = ""
    is_runpod: bool = False
    may_set_network: bool = True
    password_logins: bool = False
    """Whether sshd lets people in by password; false where it does not say."""
    listeners: tuple[Listener, ...] = ()
    nvidia_pci: int = 0
    amd_pci: int = 0
    nvidia_smi: NvidiaSmi = Field(default=NvidiaSmi())

    @property
    def os_release(self) -> str:
        """Distribution and version, e.g. `ubuntu-24.04`."""
        return f"{self.os_id}-{self.os_version}"

    @property
    def wsl(self) -> int:
        """1 or 2 inside the Windows Subsystem for Linux, else 0. WSL 2 alone has a Linux kernel of its own."""
        if "microsoft" not in self.kernel.lower():
            return 0
        return 2 if "standard" in self.kernel.lower() or "wsl2" in self.kernel.lower() else 1

    @property
    def virtualization(self) -> Literal["container", "vm", "metal"]:
        """As HostRecord has it. WSL counts as a container: Windows keeps its clock, its swap and its kernel."""
        if self.container or self.wsl:
            return "container"
        return "vm" if self.virtual_machine else "metal"

    @property
    def memory_gib(self) -> float:
        """Memory, in GiB with one decimal."""
        return round(self.memory_bytes / GIB, 1)

    @property
    def gpu(self) -> Gpu | None:
        """The GPUs of the model that the host has most of; none without a driver that sees one."""
        names = [each.name for each in self.nvidia_smi.gpus]
        if not names:
            return None
        most = max(names, key=names.count)
        memory_mib = min(each.memory_mib for each in self.nvidia_smi.gpus if each.name == most)
        return Gpu(model=gpu_model(most), count=names.count(most), vram_gib=round(memory_mib / MIB_PER_GIB, 2))

    @property
    def gpus_without_driver(self) -> int:
        """NVIDIA GPUs that could compute here and do not; a container sees those of its host, handed to it or not."""
        return self.nvidia_pci if self.gpu is None and self.virtualization != "container" else 0


def gpu_model(name: str) -> str:
    """Return the GPU table's name for what nvidia-smi calls a GPU; that name less the maker's when it lacks there."""
    words = set(name.replace("-", " ").split())
    for known in gpu_models():
        # "A100-SXM4-40GB" and "A100 80GB PCIe" hold the words of a row; "RTX 4090 Laptop GPU" is another chip.
        if set(known.replace("-", " ").split()) <= words and "Laptop" not in words:
            return known
    return name.removeprefix("NVIDIA ").removeprefix("GeForce ")
