"""The facts about a host that programs/host/look_at_host.py prints. Values only: look.py queries the host."""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from infra.contract.outputs import Gpu
from provisioning.hosts.gpu_names import gpu_model

GIB = 1024**3
MIB_PER_GIB = 1024
GATEWAY_PORTS = (443, 8443, 9443)
"""The ports that a gateway may get, the first one if it is free."""

MIG_PROFILE = re.compile(r"\d+g\.(?P<gb>\d+)gb(\+\w+)?")
"""E.g. `1g.5gb`: one of the seven parts of the GPU, with 5 GB of memory."""


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Listener(_Fact):
    """A port that a program listens on."""

    port: int
    protocol: Literal["tcp", "udp"] = "tcp"
    loopback: bool
    program: str = ""
    """Name of the process; empty if it cannot be seen (WSL's host, another container)."""


class ClosedPort(_Fact):
    """A port that another firewall of the host keeps closed, as programs/firewall/other_firewalls.py prints it."""

    firewall: str
    port: int
    command: str
    """The command that opens the port for everyone."""
    lasting: bool
    """Whether the command's effect survives a reboot."""


class NvidiaGpu(_Fact):
    """One GPU as NVIDIA's driver reports it."""

    name: str
    memory_mib: int
    driver: str
    compute_capability: str = ""
    """As nvidia-smi prints it, e.g. `8.9`; empty when the driver is too old to say."""
    mig_slices: tuple[str, ...] = ()
    """Profiles of its MIG devices, e.g. `1g.5gb`; programs see these in place of the whole GPU."""


class NvidiaSmi(_Fact):
    """What nvidia-smi printed."""

    gpus: tuple[NvidiaGpu, ...] = ()
    error: str = ""


class HostFacts(_Fact):
    """One host, as provisioning/programs/host/look_at_host.py prints it."""

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
    """Whether sshd accepts passwords; false if it does not say."""
    listeners: tuple[Listener, ...] = ()
    closed_ports: tuple[ClosedPort, ...] = ()
    """Ports that the gateway may get and that the host's firewalls keep closed."""
    ephemeral_ports: tuple[int, int] = (32768, 60999)
    """First and last port that the kernel gives to clients."""
    nvidia_pci: int = 0
    amd_pci: int = 0
    nvidia_smi: NvidiaSmi = Field(default=NvidiaSmi())

    @property
    def os_release(self) -> str:
        """Distribution and version, e.g. `ubuntu-24.04`."""
        return f"{self.os_id}-{self.os_version}"

    @property
    def wsl(self) -> int:
        """1 or 2 inside the Windows Subsystem for Linux, else 0. Only WSL 2 has its own Linux kernel."""
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
        """The GPUs of the host's most frequent model; None without a driver that sees one.

        A program sees at most one MIG slice, so a host with MIG counts as one slice.
        """
        seen = self.nvidia_smi.gpus
        if not seen:
            return None
        sliced = next((each for each in seen if each.mig_slices), None)
        if sliced is not None:
            return _slice(sliced)
        names = [each.name for each in seen]
        most = max(names, key=names.count)
        same = [each for each in seen if each.name == most]
        memory_mib = min(each.memory_mib for each in same)
        return Gpu(
            model=gpu_model(most),
            count=len(same),
            vram_gib=round(memory_mib / MIB_PER_GIB, 2),
            compute_capability=same[0].compute_capability or None,
        )

    @property
    def gpus_without_driver(self) -> int:
        """NVIDIA GPUs that could compute here but do not. A container sees all GPUs of its host, so it counts none."""
        return self.nvidia_pci if self.gpu is None and self.virtualization != "container" else 0


def _slice(gpu: NvidiaGpu) -> Gpu:
    """Return the first MIG slice of a GPU, which programs use; its profile's name has its memory in GB."""
    profile = gpu.mig_slices[0]
    found = MIG_PROFILE.fullmatch(profile)
    gib = int(found["gb"]) * 1e9 / GIB if found else gpu.memory_mib / MIB_PER_GIB
    name = gpu.name.removeprefix("NVIDIA ")
    capability = gpu.compute_capability or None
    return Gpu(model=f"{name} MIG {profile}", count=1, vram_gib=round(gib, 2), compute_capability=capability)
