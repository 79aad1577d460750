"""What this host has: GPUs, drivers, kernel, packages. Changes nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

from .host import output, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PREFERENCES = Path("/etc/apt/preferences.d/llm-deploy-nvidia")
"""There when the driver is one of ours."""

SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
NVIDIA = "0x10de"
GPU_CLASSES = ("0x0300", "0x0302")
SWITCH_CLASS = "0x0680"
WSL = "/usr/lib/wsl/lib"
RUN_FILE_REMOVER = Path("/usr/bin/nvidia-uninstall")
"""What NVIDIA's .run installer leaves, and no package has."""


def look(root: Path) -> Any:
    """Return what the host has. `root` stands for / in paths of the kernel."""
    return SimpleNamespace(
        answered=answered(),
        gpus=pci_count(root, *GPU_CLASSES),
        switches=pci_count(root, SWITCH_CLASS),
        secure_boot=secure_boot(root),
        kernel=text(root / "proc/sys/kernel/osrelease"),
        boot_id=text(Path("/proc/sys/kernel/random/boot_id")),
        loaded=text(root / "sys/module/nvidia/version"),
        nouveau=(root / "sys/module/nouveau").exists(),
        managed=PREFERENCES.exists(),
        run_file=RUN_FILE_REMOVER.exists(),
        system=system(),
        architecture=output("dpkg", "--print-architecture").strip(),
        packages=packages(),
        held=set(output("apt-mark", "showhold").split()),
    )


def answered() -> list[str]:
    """Return the driver's version once for each GPU that it can be asked about."""
    program = shutil.which("nvidia-smi", path=os.pathsep.join((os.environ.get("PATH", os.defpath), WSL)))
    return output(program, "--query-gpu=driver_version", "--format=csv,noheader").split() if program else []


def pci_count(root: Path, *classes: str) -> int:
    """Return how many of NVIDIA's devices of these classes are on the PCI bus."""
    devices = root.glob("sys/bus/pci/devices/*")
    return sum(text(each / "vendor") == NVIDIA and text(each / "class").startswith(classes) for each in devices)


def secure_boot(root: Path) -> bool:
    """Return whether the kernel loads signed modules only: four bytes of attributes, then the value."""
    try:
        return (root / SECURE_BOOT).read_bytes()[4:5] == b"\1"
    except OSError:
        return False


def system() -> str:
    """Return the distribution, e.g. `ubuntu-24.04`."""
    pairs = (line.partition("=") for line in text(Path("/etc/os-release")).splitlines())
    found = {name: value.strip('"') for name, _, value in pairs}
    return f"{found.get('ID', 'unknown')}-{found.get('VERSION_ID', '')}"


def packages() -> dict[str, str]:
    """Return the upstream version of each installed package."""
    listing = output("dpkg-query", "-W", "-f", "${db:Status-Status}\t${Package}\t${source:Upstream-Version}\n")
    rows = (line.split("\t") for line in listing.splitlines())
    return {name: version for status, name, version in rows if status == "installed"}
