"""The fabric of a machine with NVLink switches. CUDA fails with error 802 until the fabric manager has joined the GPUs.

Up to H200 the switches are PCI devices. On HGX B200 and B300 they are behind ConnectX-7 bridges. There the manager
starts the NVLink subnet manager (nvlsm) by itself, and both talk to the bridges through the module ib_umad.
Source: NVIDIA Fabric Manager User Guide, systems using fourth generation NVSwitches.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from . import chips
from .facts import ask_driver
from .host import RefusedError, finish, output, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Wanted = dict[str, Any]

UNIT = "nvidia-fabricmanager.service"
SUBNET_MANAGER = "nvlsm"
UMAD = "ib_umad"
UMAD_AT_BOOT = Path("/etc/modules-load.d/llm-deploy-nvlink.conf")

TRAINED = "Completed"
UNTRAINED = ("Not Started", "In Progress")
TRAINING_S = 180
"""Time limit for link training. The links of 8 GPUs take one or two minutes; a longer training does not end."""
LOOK_S = 2


def is_up(_: Wanted, facts: Any) -> bool:
    """Return whether the GPUs are joined, or need no fabric."""
    if not chips.needs_fabric(facts):
        return True
    if not output("systemctl", "is-active", UNIT):
        return False
    return not chips.has_nvlink5(facts) or state() in ("", TRAINED)


def bring(_: Wanted, facts: Any) -> None:
    """Start the fabric manager, and wait until the GPUs are joined. Raises RefusedError if that fails."""
    nvlink5 = chips.has_nvlink5(facts)
    missing = lacking(facts)
    if missing:
        driver = facts.answered[0] if facts.answered else "the driver"
        raise RefusedError(
            f"the GPUs of this host are joined by NVLink switches, and {' and '.join(missing)} is not installed, so "
            f"CUDA would end with error 802; install it in the version of driver {driver}, and run this again"
        )
    if nvlink5:
        write(UMAD_AT_BOOT, f"{UMAD}\n")
        subprocess.run(["modprobe", UMAD], check=False)  # if it is missing, the manager reports that at its start
    status = finish("systemctl", "enable", "--now", UNIT)
    if status == 0 and nvlink5:
        wait_until_trained()
    if status:
        raise RefusedError(f"{UNIT} does not start; `journalctl -u {UNIT}` says why; its version must be the driver's")


def lacking(facts: Any) -> list[str]:
    """Return the packages that the fabric needs on this host."""
    needed = ["nvidia-fabricmanager"] if not output("systemctl", "cat", UNIT) else []
    return [*needed, *([SUBNET_MANAGER] if chips.has_nvlink5(facts) and SUBNET_MANAGER not in facts.packages else [])]


def state() -> str:
    """Return the driver's fabric state of the GPU that is furthest behind; empty if the driver reports none."""
    states, _ = ask_driver("fabric.state")
    return next((each for each in states if each in UNTRAINED), TRAINED if TRAINED in states else "")


def wait_until_trained() -> None:
    """Wait until each GPU has joined the fabric. Raises RefusedError if that takes too long."""
    deadline = time.monotonic() + TRAINING_S
    while state() not in ("", TRAINED):
        if time.monotonic() > deadline:
            raise RefusedError(
                f"the NVLink fabric is not up after {TRAINING_S} s (nvidia-smi -q: Fabric, State {state()}); "
                f"`journalctl -u {UNIT}` and /var/log/nvlsm.log say why"
            )
        time.sleep(LOOK_S)
