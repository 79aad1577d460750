#!/usr/bin/env python3
"""Print the state of this host's NVLink fabric as JSON. Changes nothing.

    nvlink-fabric    {"fabric": {"has_switches": true, "manager": "active", "states": [["Completed", "Success"], …]}}

`fabric` is null on a host without one. `has_switches` is true if the host itself reaches NVLink switches, so that its
own manager must connect the GPUs. For a virtual machine with shared switches, and in a rack, another machine does that.
`manager` is systemd's state of the unit, empty if it is not installed. `states` has state and status of each GPU as
nvidia-smi prints them.

Which machines have switches: see chips.py and facts.py in llm_nvidia.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROGRAM_S = 20
"""nvidia-smi may hang forever on a GPU that fell off the bus."""
UNIT = "nvidia-fabricmanager.service"
FIELDS = "fabric.state,fabric.status"
NO_FABRIC = ("N/A", "[N/A]", "Not Supported", "[Not Supported]")
NVIDIA, SWITCH_CLASS = "0x10de", "0x0680"
NVLINK5 = (0x2901, 0x2909, 0x3182)
BRIDGE_VENDOR, BRIDGE_DEVICE, BRIDGE_MARK = "0x15b3", "0x1021", b"SW_MNG"


def output(*argv: str) -> str:
    """Return a program's output; empty if it is missing, fails or hangs."""
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False, timeout=PROGRAM_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def text(path: Path) -> str:
    """Return the text of a kernel file; empty if it is missing."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def has_switches(devices: Path) -> bool:
    """Return whether the PCI bus has NVLink switches, a bridge to them, or two GPUs that always come with them."""
    joined = 0
    for device in devices.glob("*"):
        vendor, number = text(device / "vendor"), text(device / "device")
        if vendor == NVIDIA and text(device / "class").startswith(SWITCH_CLASS):
            return True
        if vendor == BRIDGE_VENDOR and number == BRIDGE_DEVICE and is_bridge(device):
            return True
        joined += vendor == NVIDIA and number in {hex(each) for each in NVLINK5}
    return joined > 1


def is_bridge(device: Path) -> bool:
    """Return whether a ConnectX-7 manages switches: its vital product data says so."""
    try:
        return BRIDGE_MARK in (device / "vpd").read_bytes()
    except OSError:
        return False


def manager() -> str:
    """Return systemd's state of the fabric manager; empty if it is not installed."""
    said = output("systemctl", "show", "--property=LoadState,ActiveState", "--", UNIT)
    seen = dict(line.partition("=")[::2] for line in said.splitlines())
    return "" if seen.get("LoadState", "not-found") == "not-found" else seen.get("ActiveState", "")


def states() -> list[list[str]]:
    """Return state and status of each GPU with a fabric; empty from a driver without these fields."""
    said = output(shutil.which("nvidia-smi") or "nvidia-smi", f"--query-gpu={FIELDS}", "--format=csv,noheader")
    rows = [[cell.strip() for cell in line.split(",", 1)] for line in said.splitlines() if "," in line]
    return [row for row in rows if row[0] not in NO_FABRIC]


def fabric(devices: Path) -> dict[str, Any] | None:
    """Return the state of the fabric; None on a host without one."""
    switches, seen = has_switches(devices), states()
    if not switches and not seen:
        return None
    return {"has_switches": switches, "manager": manager(), "states": seen}


def main() -> int:
    """Print the answer."""
    os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    print(json.dumps({"fabric": fabric(Path("/sys/bus/pci/devices"))}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
