"""What this host has: GPUs, drivers, kernel, packages. Changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

from .host import numbers, output, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PREFERENCES = Path("/etc/apt/preferences.d/llm-deploy-nvidia")
"""Exists if this project installed the driver."""

SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
NVIDIA = "0x10de"
GPU_CLASSES = ("0x0300", "0x0302")
SWITCH_CLASS = "0x0680"
WSL = "/usr/lib/wsl/lib"
RUN_FILE_REMOVER = Path("/usr/bin/nvidia-uninstall")
"""A file of NVIDIA's .run installer; no package has it."""


LIBRARIES = ("usr/lib/*-linux-gnu", "usr/lib64", "usr/lib")
"""Folders where a driver's packages or its .run file put libcuda.so.VERSION."""

BRIDGE_VENDOR, BRIDGE_DEVICE, BRIDGE_MARK = "0x15b3", "0x1021", b"SW_MNG"
"""A ConnectX-7 that manages NVLink switches has this word in its vital product data; a network card does not."""


def look(root: Path) -> Any:
    """Return the facts of the host. `root` replaces / in kernel paths."""
    answers, said = ask_driver("driver_version")
    kernel = text(root / "proc/sys/kernel/osrelease")
    gpus = pci_folders(root, *GPU_CLASSES)
    return SimpleNamespace(
        answered=answers,
        said=said,
        capabilities=ask_driver("compute_cap")[0] if answers else [],
        gpus=len(gpus),
        devices=device_numbers(gpus),
        switches=len(pci_folders(root, SWITCH_CLASS)),
        bridges=bridges(root),
        secure_boot=secure_boot(root),
        kernel=kernel,
        boot_id=text(Path("/proc/sys/kernel/random/boot_id")),
        loaded=text(root / "sys/module/nvidia/version"),
        modules=modules(root, kernel),
        modules_known=modules_known(root),
        libraries=libraries(),
        nouveau=(root / "sys/module/nouveau").exists(),
        managed=PREFERENCES.exists(),
        run_file=RUN_FILE_REMOVER.exists(),
        container=text(root / "run/systemd/container") or ("wsl" if "microsoft" in kernel.lower() else ""),
        system=system(),
        architecture=output("dpkg", "--print-architecture").strip(),
        packages=packages(),
        held=set(output("apt-mark", "showhold").split()),
    )


def ask_driver(field: str) -> tuple[list[str], str]:
    """Return nvidia-smi's answer for each GPU, or its message if it answers for none."""
    program = shutil.which("nvidia-smi", path=os.pathsep.join((os.environ.get("PATH", os.defpath), WSL)))
    if not program:
        return [], ""
    done = subprocess.run(
        (program, f"--query-gpu={field}", "--format=csv,noheader"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return [], " ".join(done.stdout.split())[:200]
    return [line.strip() for line in done.stdout.splitlines() if line.strip()], ""


def modules_known(root: Path) -> bool:
    """Return whether modinfo can find the module that the next boot loads; otherwise the packages decide."""
    return root == Path("/") and shutil.which("modinfo") is not None


def modules(root: Path, running: str) -> dict[str, str]:
    """Return the version of the driver's module on disk, by kernel: of the running kernel and of all installed ones."""
    if not modules_known(root):
        return {}
    kernels = {running, *(folder.name for folder in Path("/lib/modules").glob("*"))}
    found = {kernel: output("modinfo", "-k", kernel, "-F", "version", "nvidia").strip() for kernel in sorted(kernels)}
    return {kernel: version for kernel, version in found.items() if version}


def libraries() -> list[str]:
    """Return the versions of libcuda on this host, oldest first: more than one if two drivers are mixed."""
    paths = (path for folder in LIBRARIES for path in Path("/").glob(f"{folder}/libcuda.so.*.*"))
    found = {match[1] for match in (re.fullmatch(r"libcuda\.so\.(\d+\.[\d.]+)", path.name) for path in paths) if match}
    return sorted(found, key=numbers)


def pci_folders(root: Path, *classes: str) -> list[Path]:
    """Return the kernel's folders of NVIDIA's devices of these classes on the PCI bus."""
    folders = sorted(root.glob("sys/bus/pci/devices/*"))
    return [each for each in folders if text(each / "vendor") == NVIDIA and text(each / "class").startswith(classes)]


def device_numbers(folders: list[Path]) -> list[int]:
    """Return the device numbers of PCI devices from the kernel, e.g. 0x27b8 for an L4."""
    found = (text(each / "device") for each in folders)
    return [int(device, 16) for device in found if re.fullmatch(r"0x[0-9a-fA-F]{1,4}", device)]


def bridges(root: Path) -> int:
    """Return how many ConnectX-7 bridges to NVLink switches are on the PCI bus."""
    count = 0
    for each in root.glob("sys/bus/pci/devices/*"):
        if text(each / "vendor") == BRIDGE_VENDOR and text(each / "device") == BRIDGE_DEVICE:
            try:
                count += BRIDGE_MARK in (each / "vpd").read_bytes()
            except OSError:
                continue  # a virtual function, or a device whose firmware is not up, has no such file
    return count


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
    """Return the upstream version of each installed package, and of those in an interrupted installation."""
    listing = output("dpkg-query", "-W", "-f", "${db:Status-Status}\t${Package}\t${source:Upstream-Version}\n")
    rows = (line.split("\t") for line in listing.splitlines())
    return {name: version for status, name, version in rows if status not in ("not-installed", "config-files")}
