#!/usr/bin/env python3
"""Bring this host's NVIDIA driver to what an engine needs, and leave alone one that is good enough.

    nvidia-driver WANTED check | install | check-repository | repository | check-fabric | fabric

WANTED is the JSON file that provisioning/roles/nvidia.py writes. `install` exits 75 when the driver is installed and
works only after a reboot, which it leaves to others; whoever runs it again before or after that gets on.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Wanted = dict[str, Any]

NEEDS_REBOOT = 75
SOURCES = Path("/etc/apt/sources.list.d/llm-deploy-nvidia.sources")
PREFERENCES = Path("/etc/apt/preferences.d/llm-deploy-nvidia")
REBOOT_NOTE = Path("/var/lib/llm-deploy/nvidia-reboot.json")
"""For which driver and kernel a reboot was asked for, and in which boot: one that did not help is not repeated."""

SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
NVIDIA = "0x10de"
GPU_CLASSES = ("0x0300", "0x0302")
SWITCH_CLASS = "0x0680"
WSL = "/usr/lib/wsl/lib"
FABRIC_UNIT = "nvidia-fabricmanager.service"
"""Joins the GPUs of a machine with NVSwitch; CUDA does not start on any of them without it."""

RUN_FILE_REMOVER = Path("/usr/bin/nvidia-uninstall")
"""What NVIDIA's .run installer leaves, and no package has."""

REPOSITORY_ARCH = {"amd64": "x86_64", "arm64": "sbsa"}
APT = ("apt-get", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=600")
PINNED = "*nvidia* libcuda* libnv* cuda-drivers*"


class RefusedError(Exception):
    """The driver cannot be brought here; the text says why, and what helps."""


def text(path: Path) -> str:
    """Return the content of a small file; nothing when there is none."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def output(*argv: str) -> str:
    """Return what a program writes; nothing when it fails or is missing."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def must(*argv: str) -> None:
    """Run a program to its end, also when this one is ended meanwhile: a half-done package change is worse."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, start_new_session=True, check=False)
    if done.returncode:
        raise RefusedError(f"`{' '.join(argv)[:80]}` ended with status {done.returncode}")


def write(path: Path, content: str) -> None:
    """Replace a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = Path(f"{path}.new")
    new.write_text(content, encoding="utf-8")
    new.replace(path)


def pci_count(root: Path, *classes: str) -> int:
    """Return how many of NVIDIA's devices of these classes are on the PCI bus."""
    devices = root.glob("sys/bus/pci/devices/*")
    return sum(text(each / "vendor") == NVIDIA and text(each / "class").startswith(classes) for each in devices)


def answered() -> list[str]:
    """Return the driver's version once for each GPU that it can be asked about."""
    program = shutil.which("nvidia-smi", path=os.pathsep.join((os.environ.get("PATH", os.defpath), WSL)))
    return output(program, "--query-gpu=driver_version", "--format=csv,noheader").split() if program else []


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


def installed_packages() -> dict[str, str]:
    """Return the upstream version of each installed package."""
    listing = output("dpkg-query", "-W", "-f", "${db:Status-Status}\t${Package}\t${source:Upstream-Version}\n")
    rows = (line.split("\t") for line in listing.splitlines())
    return {name: version for status, name, version in rows if status == "installed"}


def look(wanted: Wanted) -> Any:
    """Return what the host has. `root` stands for / in paths of the kernel."""
    root = Path(wanted["root"])
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
        packages=installed_packages(),
        held=set(output("apt-mark", "showhold").split()),
    )


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers that can be compared."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def of_driver(wanted: Wanted, facts: Any) -> set[str]:
    """Return the installed packages of the pinned driver."""
    return {name for name, version in facts.packages.items() if version == wanted["version"]}


def is_good(wanted: Wanted, facts: Any) -> bool:
    """Return whether the driver works for all GPUs and is new enough; one of ours is also the pinned one, and held."""
    seen = facts.answered
    if len(seen) < wanted["gpus"] or any(numbers(version) < numbers(wanted["minimum"]) for version in seen):
        return False
    return not facts.managed or (set(seen) == {wanted["version"]} and of_driver(wanted, facts) <= facts.held)


def refusal(wanted: Wanted, facts: Any) -> str:
    """Return why no driver can be installed, with what helps; nothing when it can."""
    expected = f"{wanted['gpus']} x {wanted['gpu']}"
    needed = f"a driver of release {wanted['minimum']} or newer"
    has = f"has driver {facts.answered[0]}" if facts.answered else "has no NVIDIA driver that works"
    if wanted["container"]:
        return f"this container {has} for {expected}; install {needed} on the machine that runs it"
    if facts.gpus < wanted["gpus"]:
        seen = f"{facts.gpus} NVIDIA GPUs are" if facts.gpus else "no NVIDIA GPU is"
        return f"{seen} on the PCI bus, and {expected} should be; choose a machine type with GPUs, or mend `gpu`"
    if facts.run_file:
        return f"this host {has}, put there by NVIDIA's .run file; remove it with nvidia-uninstall and run this again"
    if facts.secure_boot:
        return (
            f"this host {has}, and Secure Boot is on: the kernel would refuse one that is built here; "
            f"turn Secure Boot off for this machine, or take an image with {needed}, signed"
        )
    if facts.system not in wanted["repositories"] or facts.architecture not in REPOSITORY_ARCH:
        known = ", ".join(sorted(wanted["repositories"]))
        return f"drivers are installed on {known}, and this is {facts.system}; install {needed} by hand"
    return ""


def repository(wanted: Wanted, facts: Any) -> str:
    """Return what the repository's file should hold; nothing when the host names that repository elsewhere.

    apt refuses two entries of one repository that name different keys, and the image's own entry is as good.
    """
    known = wanted["repositories"].get(facts.system)
    if known is None:
        return ""
    uri = known["uri"].format(arch=REPOSITORY_ARCH.get(facts.architecture, ""))
    apt = Path("/etc/apt")
    others = (path for path in (apt / "sources.list", *apt.glob("sources.list.d/*")) if path != SOURCES)
    entries = (line.split("#")[0] for path in others for line in text(path).splitlines())
    if any(uri.rstrip("/") in entry for entry in entries):
        return ""
    return f"Types: deb\nURIs: {uri}\nSuites: /\nSigned-By: {wanted['key']}\n"


def repository_is_named(wanted: Wanted, facts: Any) -> bool:
    """Return whether apt knows the repository."""
    content = repository(wanted, facts)
    return not content or text(SOURCES) == content.strip()


def name_repository(wanted: Wanted, facts: Any) -> None:
    """Name the repository to apt."""
    if not repository_is_named(wanted, facts):
        write(SOURCES, repository(wanted, facts))


def pin(wanted: Wanted, facts: Any) -> None:
    """Tell apt to take one version of the driver, whatever the repositories have besides; let go of the former one."""
    former = re.search(r"^Pin: version (\S+)-\*$", text(PREFERENCES), flags=re.MULTILINE)
    held = [name for name in facts.held if former and facts.packages.get(name) == former[1]]
    if held:
        must("apt-mark", "unhold", *held)
    write(PREFERENCES, f"Package: {PINNED}\nPin: version {wanted['version']}-*\nPin-Priority: 1001\n")


def install(wanted: Wanted, facts: Any) -> str:
    """Install the pinned driver and hold it; return the kernel that it was built for."""
    why_not = refusal(wanted, facts)
    if why_not:
        raise RefusedError(why_not)
    name_repository(wanted, facts)
    pin(wanted, facts)
    must("dpkg", "--configure", "-a", "--force-confold")
    must(*APT, "update")
    kernel, *headers = output("python3", wanted["kernel_headers"], wanted["root"]).split() or [""]
    if not kernel:
        raise RefusedError(
            f"kernel {facts.kernel} has no headers in apt (linux-headers-{facts.kernel}), so no driver can be built "
            "for it; boot one of the distribution's kernels"
        )
    known = wanted["repositories"][facts.system]
    packages = [*known["packages"], *(known["switch_packages"] if facts.switches else [])]
    must(*APT, "install", "--allow-downgrades", *headers, *packages)
    must("apt-mark", "hold", *sorted(of_driver(wanted, look(wanted))))
    return kernel


def load(wanted: Wanted, facts: Any) -> bool:
    """Load the installed module in place of what is loaded, where nothing uses that; return whether it works."""
    if facts.nouveau:
        if shutil.which("update-initramfs"):
            must("update-initramfs", "-u")  # what modprobe.d forbids is also forbidden before the disk is there
        return False
    subprocess.run(["modprobe", "-r", "nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nvidia"], check=False)
    subprocess.run(["modprobe", "nvidia"], check=False)
    return is_good(wanted, look(wanted))


def ask_for_reboot(wanted: Wanted, facts: Any, kernel: str) -> int:
    """Return the status that asks for a reboot. Raises RefusedError when one has been and did not help."""
    asked = {"driver": wanted["version"], "kernel": kernel, "boot_id": facts.boot_id}
    before = json.loads(text(REBOOT_NOTE) or "{}")
    if {**before, "boot_id": facts.boot_id} == asked != before:
        REBOOT_NOTE.unlink()
        raise RefusedError(
            f"driver {wanted['version']} is installed and does not work, also after a reboot; "
            "`dkms status` and `journalctl -k -g NVRM` tell more"
        )
    write(REBOOT_NOTE, json.dumps(asked))
    in_use = "nouveau" if facts.nouveau else f"driver {facts.loaded}" if facts.loaded else f"kernel {facts.kernel}"
    print(f"driver {wanted['version']} is installed, and {in_use} in use until a reboot")
    return NEEDS_REBOOT


def bring(wanted: Wanted, facts: Any) -> int:
    """Install and load the driver; return the exit status."""
    kernel = install(wanted, facts)
    return 0 if load(wanted, facts) else ask_for_reboot(wanted, facts, kernel)


def fabric_is_up(_: Wanted, facts: Any) -> bool:
    """Return whether the GPUs are joined, where there is something to join."""
    return not facts.switches or bool(output("systemctl", "is-active", FABRIC_UNIT))


def main(wanted_file: str, verb: str) -> int:
    """Do what the verb says; return the exit status."""
    wanted = json.loads(Path(wanted_file).read_text(encoding="utf-8"))
    facts = look(wanted)
    checks = {"check": is_good, "check-repository": repository_is_named, "check-fabric": fabric_is_up}
    if verb in checks:
        return 0 if checks[verb](wanted, facts) else 1
    try:
        if verb == "install":
            return bring(wanted, facts)
        if verb == "repository":
            name_repository(wanted, facts)
        if verb == "fabric":
            must("systemctl", "enable", "--now", FABRIC_UNIT)
    except RefusedError as refused:
        print(f"error: {refused}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
