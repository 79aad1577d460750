"""The order: look, leave alone what is good, else install, load, and ask for a reboot where that is needed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from .facts import look
from .host import RefusedError, must, output, text, write
from .packages import install, name_repository, repository_is_named
from .verdict import is_good

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Wanted = dict[str, Any]

NEEDS_REBOOT = 75
REBOOT_NOTE = Path("/var/lib/llm-deploy/nvidia-reboot.json")
"""For which driver and kernel a reboot was asked for, and in which boot: one that did not help is not repeated."""

FABRIC_UNIT = "nvidia-fabricmanager.service"
"""Joins the GPUs of a machine with NVSwitch; CUDA does not start on any of them without it."""


def main(wanted_file: str, verb: str) -> int:
    """Do what the verb says; return the exit status."""
    wanted = json.loads(Path(wanted_file).read_text(encoding="utf-8"))
    facts = look(Path(wanted["root"]))
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


def bring(wanted: Wanted, facts: Any) -> int:
    """Install and load the driver; return the exit status."""
    kernel = install(wanted, facts)
    if not load(wanted, facts):
        return ask_for_reboot(wanted, facts, kernel)
    REBOOT_NOTE.unlink(missing_ok=True)
    return 0


def load(wanted: Wanted, facts: Any) -> bool:
    """Load the installed module in place of what is loaded, where nothing uses that; return whether it works."""
    if facts.nouveau:
        if shutil.which("update-initramfs"):
            must("update-initramfs", "-u")  # what modprobe.d forbids is also forbidden before the disk is there
        return False
    subprocess.run(["modprobe", "-r", "nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nvidia"], check=False)
    subprocess.run(["modprobe", "nvidia"], check=False)
    return is_good(wanted, look(Path(wanted["root"])))


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


def fabric_is_up(_: Wanted, facts: Any) -> bool:
    """Return whether the GPUs are joined, where there is something to join."""
    return not facts.switches or bool(output("systemctl", "is-active", FABRIC_UNIT))
