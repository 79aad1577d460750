#!/usr/bin/env python3
"""Print facts of this host as JSON: system, size, GPUs, who listens on which port. Changes nothing, decides nothing.

    look-at-host

Runs as root, so that it sees which program listens on a port.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

NVIDIA, AMD = "0x10de", "0x1002"
DISPLAY_CLASSES = ("0x0300", "0x0302")
"""PCI classes of a graphics card with and without display output; a card's sound device has another class."""
LISTENING = {"tcp": "0A", "udp": "07"}
"""States of a socket that accepts from any peer; a connected UDP socket has another state."""
EPHEMERAL = "/proc/sys/net/ipv4/ip_local_port_range"
LOOPBACK_SIX = "0" * 24 + "01000000"
FOUR_IN_SIX = "0" * 16 + "FFFF0000"
"""::1, and the start of an IPv4 address in IPv6, as /proc/net/tcp6 writes them: each four bytes backwards."""
NET_ADMIN_BIT = 12
NVIDIA_SMI = ("nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi")
"""The nvidia-smi of WSL, in a folder that is not on root's PATH."""
CPU_GROUPS = ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct")
"""Path of the CPU quota in control groups version 1."""
TIMEOUT_S = 20
DATA_PARENT = "/var/lib"
RUNPOD_MARK = "RUNPOD_POD_ID"


def read(path: str) -> str:
    """Return the text of a file; empty if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\n")
    except OSError:
        return ""


def said(*argv: str) -> str:
    """Return a program's output, with any status; empty if there is no such program."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip()


def os_release() -> dict[str, str]:
    """Return the values of /etc/os-release."""
    pairs = (line.partition("=") for line in read("/etc/os-release").splitlines() if "=" in line)
    return {name: value.strip().strip("\"'") for name, _, value in pairs}


def memory_bytes() -> int:
    """Return the memory, or the control group's limit if that is less."""
    total = int(re.findall(r"MemTotal:\s+(\d+) kB", read("/proc/meminfo"))[0]) * 1024
    limits = (read("/sys/fs/cgroup/memory.max"), read("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
    return min([total, *(int(limit) for limit in limits if limit.isdigit())])


def cpu_count() -> int:
    """Return the processors, or the control group's quota (version 2, else 1) if that is less."""
    quotas = [read("/sys/fs/cgroup/cpu.max").split()]
    quotas += [[read(f"{place}/cpu.cfs_quota_us"), read(f"{place}/cpu.cfs_period_us")] for place in CPU_GROUPS]
    # Without a limit the quota is `max`, or -1.
    limits = [math.ceil(int(each[0]) / int(each[1])) for each in quotas if len(each) == 2 and each[0].isdigit()]  # noqa: PLR2004
    return max(1, min([len(os.sched_getaffinity(0)), *limits]))


def container() -> str:
    """Return the kind of container that this host is (docker, lxc, systemd-nspawn …); empty for a machine."""
    detected = said("systemd-detect-virt", "--container")
    if re.fullmatch(r"[a-z0-9-]+", detected):
        return "" if detected in ("none", "wsl") else detected
    for mark, name in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
        if Path(mark).exists():
            return name
    return read("/run/systemd/container") or environment_of_init().get("container", "")


def environment_of_init() -> dict[str, str]:
    """Return the environment of process 1, in which container engines leave marks."""
    pairs = (entry.partition("=") for entry in read("/proc/1/environ").split("\0") if "=" in entry)
    return {name: value for name, _, value in pairs}


def virtual_machine() -> str:
    """Return the hypervisor's name; empty on bare metal, or if unknown."""
    detected = said("systemd-detect-virt", "--vm")
    return detected if re.fullmatch(r"[a-z0-9-]+", detected) and detected != "none" else ""


def listeners() -> list[dict[str, Any]]:
    """Return port, protocol, scope and program of each socket that listens, for TCP and UDP.

    The kernel's own sockets (WireGuard's, NFS's) have no program.
    """
    owners = socket_owners()
    found: dict[tuple[int, str, bool], str] = {}
    for protocol, state in LISTENING.items():
        for path in (f"/proc/net/{protocol}", f"/proc/net/{protocol}6"):
            for line in read(path).splitlines()[1:]:
                words = line.split()
                if words[3] == state:
                    address, port = words[1].rsplit(":", 1)
                    program = owners.get(words[9], "")
                    found.setdefault((int(port, 16), protocol, is_loopback(address)), program)
    return [
        {"port": port, "protocol": protocol, "loopback": loopback, "program": name}
        for (port, protocol, loopback), name in sorted(found.items())
    ]


def is_loopback(address: str) -> bool:
    """Return whether an address, as /proc/net/tcp writes it, is 127.0.0.0/8 or ::1."""
    is_four = len(address) == 8 or address.startswith(FOUR_IN_SIX)  # noqa: PLR2004
    return address == LOOPBACK_SIX or (is_four and address.endswith("7F"))


def printable(name: str) -> str:
    """Return a process's name without control characters: any user may choose it, and inventories show it."""
    return re.sub(r"[^\x20-\x7e]", "?", name)


def socket_owners() -> dict[str, str]:
    """Return the name of the program that holds a socket, by inode."""
    owners = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for handle in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    target = os.readlink(str(handle))  # noqa: PTH115  # Path.readlink came with Python 3.9
                    if target.startswith("socket:["):
                        owners[target[8:-1]] = printable(read(str(process / "comm")))
    return owners


def pci_displays() -> Iterator[dict[str, str]]:
    """Yield vendor and device of each graphics card on the PCI bus."""
    for device in sorted(Path("/sys/bus/pci/devices").glob("*")):
        if read(str(device / "class"))[:6] in DISPLAY_CLASSES:
            yield {"vendor": read(str(device / "vendor")), "device": read(str(device / "device"))}


def nvidia_smi() -> dict[str, Any]:
    """Return the GPUs that NVIDIA's driver sees, and its message if it sees none."""
    words = ""
    for program in NVIDIA_SMI:
        words = said(program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
        rows = [[cell.strip() for cell in line.split(",")] for line in words.splitlines()]
        gpus = [row for row in rows if len(row) == 3 and row[1].isdigit()]  # noqa: PLR2004
        if gpus:
            capabilities, slices = compute_capabilities(program), mig_slices(program)
            return {
                "gpus": [
                    {
                        "name": row[0],
                        "memory_mib": int(row[1]),
                        "driver": row[2],
                        "compute_capability": capabilities[index] if index < len(capabilities) else "",
                        "mig_slices": slices[index] if index < len(slices) else [],
                    }
                    for index, row in enumerate(gpus)
                ],
                "error": "",
            }
        if words:
            break
    return {"gpus": [], "error": words.splitlines()[0] if words else ""}


def compute_capabilities(program: str) -> list[str]:
    """Return the compute capability of each GPU; empty from a driver before 510, which lacks the field."""
    lines = said(program, "--query-gpu=compute_cap", "--format=csv,noheader").splitlines()
    found = [line.strip() for line in lines]
    return found if all(re.fullmatch(r"\d+\.\d", each) for each in found) else []


def mig_slices(program: str) -> list[list[str]]:
    """Return the profiles of the MIG devices of each GPU, as `nvidia-smi -L` lists them below it."""
    found: list[list[str]] = []
    for line in said(program, "-L").splitlines():
        if line.startswith("GPU "):
            found.append([])
        elif found and line.split()[:1] == ["MIG"]:
            found[-1].append(line.split()[1])
    return found


def may_set_network() -> bool:
    """Return whether root may change firewall and interfaces here; in a container it often may not."""
    mask = re.findall(r"CapEff:\s+([0-9a-f]+)", read("/proc/self/status"))
    return bool(mask) and bool(int(mask[0], 16) >> NET_ADMIN_BIT & 1)


def password_logins() -> bool:
    """Return whether sshd accepts passwords; False if it does not say."""
    words = ("passwordauthentication yes", "kbdinteractiveauthentication yes")
    return any(line in words for line in said("/usr/sbin/sshd", "-T").splitlines())


def main() -> int:
    """Look, print."""
    release = os_release()
    disk = os.statvfs(DATA_PARENT)
    pci = list(pci_displays())
    facts = {
        "hostname": platform.node(),
        "os_id": release.get("ID", ""),
        "os_version": release.get("VERSION_ID", ""),
        "os_name": release.get("PRETTY_NAME", ""),
        "kernel": platform.release(),
        "arch": platform.machine(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "cpu_count": cpu_count(),
        "memory_bytes": memory_bytes(),
        "disk_free_bytes": disk.f_bavail * disk.f_frsize,
        "has_systemd": Path("/run/systemd/system").is_dir(),
        "init": read("/proc/1/comm"),
        "container": container(),
        "virtual_machine": virtual_machine(),
        "is_runpod": RUNPOD_MARK in environment_of_init(),
        "may_set_network": may_set_network(),
        "password_logins": password_logins(),
        "listeners": listeners(),
        "ephemeral_ports": [int(word) for word in read(EPHEMERAL).split()] or [32768, 60999],
        "nvidia_pci": sum(device["vendor"] == NVIDIA for device in pci),
        "amd_pci": sum(device["vendor"] == AMD for device in pci),
        "nvidia_smi": nvidia_smi(),
    }
    print(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
