"""Reads facts, keeps a good or foreign driver, else installs and loads one, and requests a reboot if needed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from . import fabric
from .facts import look
from .host import RefusedError, must, text, write
from .packages import install, name_repository, repository_is_named
from .verdict import INSTALL, LEAVE, LOAD, REBOOT, REFUSE, decide, is_good, module_on_disk, not_working, reboot_due

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Wanted = dict[str, Any]

NEEDS_REBOOT = 75
REBOOT_NOTE = Path("/var/lib/llm-deploy/nvidia-reboot.json")
"""Records driver, kernel and boot of a requested reboot: a reboot that did not help is not repeated."""


def main(wanted_file: str, verb: str) -> int:
    """Run the command; return the exit status."""
    wanted = json.loads(Path(wanted_file).read_text(encoding="utf-8"))
    facts = look(Path(wanted["root"]))
    checks = {"check": check, "check-repository": repository_is_named, "check-fabric": fabric.is_up}
    if verb in checks:
        return 0 if checks[verb](wanted, facts) else 1
    try:
        if verb == "install":
            return bring(wanted, facts)
        if verb == "repository":
            name_repository(wanted, facts)
        if verb == "fabric":
            fabric.bring(wanted, facts)
    except RefusedError as refused:
        print(f"error: {refused}", file=sys.stderr)
        return 1
    return 0


def check(wanted: Wanted, facts: Any) -> bool:
    """Return True if `install` has nothing to do; else print for a plan what it would do, or why it would fail."""
    verdict = decide(wanted, facts)
    if verdict.action == LEAVE:
        return True
    print(f"planned: {'fail: ' if verdict.action == REFUSE else ''}{verdict.words}")
    return False


def bring(wanted: Wanted, facts: Any) -> int:
    """Apply the verdict; return the exit status."""
    verdict = decide(wanted, facts)
    if verdict.action == REFUSE:
        raise RefusedError(verdict.words)
    if verdict.action == REBOOT:
        if facts.nouveau:
            keep_nouveau_away()
        return ask_for_reboot({**wanted, "version": verdict.driver}, facts, facts.kernel)
    if verdict.action == LOAD:
        load_another_s(wanted, facts)
    if verdict.action == INSTALL:
        kernel = install(wanted, facts)
        if not load(wanted, facts):
            return ask_for_reboot(wanted, facts, kernel)
    REBOOT_NOTE.unlink(missing_ok=True)
    return 0


def load_another_s(wanted: Wanted, facts: Any) -> None:
    """Load a foreign driver's module if none is loaded. Raises RefusedError if the driver does not work then."""
    subprocess.run(["modprobe", "nvidia"], check=False)
    now = look(Path(wanted["root"]))
    if not is_good(wanted, now):
        raise RefusedError(not_working(wanted, now, f"this host has driver {module_on_disk(facts)}"))


def load(wanted: Wanted, facts: Any) -> bool:
    """Replace the loaded module with the installed one if nothing uses it; return whether the driver works."""
    if facts.nouveau:
        keep_nouveau_away()
        return False
    subprocess.run(["modprobe", "-r", "nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nvidia"], check=False)
    subprocess.run(["modprobe", "nvidia"], check=False)
    return is_good(wanted, look(Path(wanted["root"])))


def keep_nouveau_away() -> None:
    """Keep nouveau out of the next boot: rebuild the initramfs, so that modprobe.d's rule also holds there."""
    if shutil.which("update-initramfs"):
        must("update-initramfs", "-u")


def ask_for_reboot(wanted: Wanted, facts: Any, kernel: str) -> int:
    """Return the status that requests a reboot. Raises RefusedError if a reboot has not helped."""
    driver = wanted["version"]
    asked = {"driver": driver, "kernel": kernel, "boot_id": facts.boot_id}
    before = json.loads(text(REBOOT_NOTE) or "{}")
    if {**before, "boot_id": facts.boot_id} == asked != before:
        REBOOT_NOTE.unlink()
        raise RefusedError(
            f"driver {driver} is installed and does not work even after a reboot; "
            "see `dkms status` and `journalctl -k -g NVRM`"
        )
    write(REBOOT_NOTE, json.dumps(asked))
    print(reboot_due(driver, facts))
    return NEEDS_REBOOT
