"""Which NVIDIA driver an engine needs, and which one to install on a host without one: frozen rows with sources.

Looks at no host. For a newer driver, change a value here; hosts with a driver of this project get it at the next
provision.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from catalog.machines import gpu_models
from infra.capacity.gpu_features import Capability
from provisioning.roles.host.locks import lock_text

KEY_FILE = Path(__file__).resolve().parents[2] / "keys" / "nvidia-cuda.asc"

KEY_FINGERPRINT = "EB693B3035CD5710E231E123A4B469963BF863CC"
"""Fingerprint of NVIDIA's key for these repositories (3bf863cc.pub, cudatools@nvidia.com, 2022-04-14).

Source: canonical/checkbox providers/base/bin/virtualization.py (`gpg_fingerprint`), and other projects that pin the
same key. The key's text is that of alexmyczko/autoexec.bat config.sys/debian-system-cuda @03c43154, of which
`gpg --show-keys` prints this fingerprint; tests/unit/provisioning/roles/host/test_nvidia.py computes it.
"""

VERSION = "580.159.04"
"""A driver of the long-term branch R580, supported until August 2028, for CUDA 13.x.

Sources: docs.nvidia.com/datacenter/tesla/drivers/supported-drivers-and-cuda-toolkit-versions (branch, end of life);
listing of developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/sbsa of 2026-05-25, and Azure/AgentBaker's bill
of materials (nvidia-dkms-580-open 580.159.04-1ubuntu1). NVIDIA publishes a release for all distributions at once, so
Debian's and Ubuntu 22.04's repositories should have this version too; that was not checked.
"""

REPOSITORIES = "https://developer.download.nvidia.com/compute/cuda/repos"

OLLAMA_MINIMUM, OLLAMA_MINIMUM_OLD = "550", "570"
"""With an older driver Ollama computes on the CPU, and only its log says so. The second value is for GPUs before Volta.

Sources: docs/gpu.mdx of ollama/ollama (550; 570 for compute capability 5.0 to 6.2), and discover/cuda_compat.go, which
leaves GPUs of a major version below 7 out when the driver is older than 570.
"""

OLLAMA_OLD_BELOW: Capability = (7, 0)


@dataclass(frozen=True, kw_only=True)
class Repository:
    """NVIDIA's repository for one distribution, and its packages for a host without a screen."""

    uri: str
    """`{arch}` stands for x86_64, or sbsa on ARM servers."""
    packages: tuple[str, ...]
    """User space, DKMS, device nodes, persistence."""
    open_module: str = ""
    """The kernel module for GPUs from Turing on, built by DKMS."""
    proprietary_module: str = ""
    """The same for Maxwell, Pascal and Volta, which the open module does not support."""
    switch_packages: tuple[str, ...]
    """More packages for a machine with NVSwitch, such as 8 x A100 or H100: CUDA needs the fabric manager to start."""
    nvlink_packages: tuple[str, ...] = ()
    """Further packages for HGX B200 and B300, whose switches are managed over InfiniBand."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All pinned values, and the root of the kernel's facts. Tests use other values."""

    version: str = VERSION
    key: str = ""
    """ASCII-armoured public key that signs the repositories; None means NVIDIA's key."""
    repositories: Mapping[str, Repository]
    root: str = "/"
    """Stands for / in /sys, /proc/sys and /lib/modules."""

    @property
    def public_key(self) -> str:
        """The key that signs the repositories."""
        return self.key or KEY_FILE.read_text(encoding="ascii")


UBUNTU = ("libnvidia-compute-580", "nvidia-compute-utils-580", "nvidia-utils-580")
UBUNTU_MODULES = ("nvidia-dkms-580-open", "nvidia-dkms-580")
DEBIAN = ("nvidia-driver-cuda", "nvidia-persistenced")
DEBIAN_MODULES = ("nvidia-kernel-open-dkms", "nvidia-kernel-dkms")
BOTH = ("dkms", "nvidia-modprobe")
"""Sources: NVIDIA's Driver Installation Guide r580, compute-only systems (`libnvidia-compute-580 nvidia-dkms-580-open`;
`nvidia-driver-cuda nvidia-kernel-open-dkms`); nvidia-smi is in nvidia-utils, the persistence daemon in
nvidia-compute-utils."""

SWITCHES = ("nvidia-fabricmanager",)
"""Since 580, NVIDIA's repositories name it without the branch, e.g. nvidia-fabricmanager_580.126.20-1_amd64.deb for
ubuntu2204, ubuntu2404 and debian12. Ubuntu's nvidia-fabricmanager-580 has Ubuntu's versions, and a fabric manager
works only with the driver of exactly its version."""

NVLINK = ("nvlsm", "infiniband-diags", "libibumad3")
"""nvlsm is in NVIDIA's repository and independent of the driver's version; the manager's start script asks ibstat
(infiniband-diags). Source: NVIDIA Fabric Manager User Guide, systems using fourth generation NVSwitches."""


def _repository(name: str, packages: tuple[str, ...], modules: tuple[str, str]) -> Repository:
    return Repository(
        uri=f"{REPOSITORIES}/{name}/{{arch}}/",
        packages=(*packages, *BOTH),
        open_module=modules[0],
        proprietary_module=modules[1],
        switch_packages=SWITCHES,
        nvlink_packages=NVLINK,
    )


NVIDIA = Setup(
    repositories={
        "ubuntu-22.04": _repository("ubuntu2204", UBUNTU, UBUNTU_MODULES),
        "ubuntu-24.04": _repository("ubuntu2404", UBUNTU, UBUNTU_MODULES),
        "debian-12": _repository("debian12", DEBIAN, DEBIAN_MODULES),
    }
)


def cuda_of_lock() -> str:
    """Return the CUDA release that the pinned vLLM's wheels were built for, e.g. `13.0`: the lock's cuda-toolkit."""
    found = re.search(r"^cuda-toolkit==(\d+\.\d+)\.", lock_text("vllm-cuda"), flags=re.MULTILINE)
    if found is None:
        raise LookupError("provisioning/locks/vllm-cuda.txt does not name cuda-toolkit")
    return found[1]


def minimum_driver(engine: Literal["vllm", "ollama"], capability: Capability | None = None) -> str:
    """Return the oldest driver release for `engine` on a GPU of `capability`; without a capability, for a recent GPU.

    A CUDA minor version runs on every driver of its major version; catalog/data/gpu_facts.csv has the releases, which
    are the same for all GPUs of the table.
    """
    if engine == "ollama":
        return OLLAMA_MINIMUM if capability is None or capability >= OLLAMA_OLD_BELOW else OLLAMA_MINIMUM_OLD
    any_gpu = next(iter(gpu_models().values()))
    by_major = {"12": any_gpu.min_driver_for_cuda_12_9, "13": any_gpu.min_driver_for_cuda_13}
    return str(by_major[cuda_of_lock().partition(".")[0]])
