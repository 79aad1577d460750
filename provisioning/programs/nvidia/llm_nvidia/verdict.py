"""What to do about the driver of a host, and why. Decides from facts alone.

A driver that this project did not install, or that is newer than the pinned one, is used as it is. If that does not
work, this is reported. Only `gpu.replace_driver: true` in the inventory replaces such a driver.
"""

from __future__ import annotations

import re

from . import chips
from .host import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    Wanted = dict[str, Any]
else:
    from collections import namedtuple

REPOSITORY_ARCH = {"amd64": "x86_64", "arm64": "sbsa"}

LEAVE, LOAD, REBOOT, INSTALL, REFUSE = "leave", "load", "reboot", "install", "refuse"

DRIVER_PACKAGE = re.compile(
    r"nvidia-(driver|dkms|open|headless|utils|compute-utils|smi|tesla|legacy|kernel-(open|dkms|source|\d))"
    r"|libnvidia-(compute|ml\d)|libcuda1\b|cuda-drivers|linux-(modules|objects|signatures)-nvidia"
)
"""Packages that only a host with a driver has; a container toolkit or NVIDIA's metrics do not count."""

MODULE_PACKAGE = re.compile(r"nvidia-(dkms-|kernel-(open-)?dkms|open-kernel-dkms)|linux-modules-nvidia-")
"""Packages with the same version as the kernel module."""


if TYPE_CHECKING:

    class Verdict(NamedTuple):
        """The action, the reason as a text for people, and for a reboot the driver that it starts."""

        action: str
        words: str
        driver: str = ""
else:
    Verdict = namedtuple("Verdict", ("action", "words", "driver"), defaults=("",))


def decide(wanted: Wanted, facts: Any) -> Verdict:
    """Return what to do about the driver."""
    if is_good(wanted, facts):
        return Verdict(LEAVE, "")
    why_not = impossible(wanted, facts)
    if why_not:
        return Verdict(REFUSE, why_not)
    if stays(wanted, facts):
        return _of_others(wanted, facts)
    why_not = not_installable(wanted, facts)
    return Verdict(REFUSE, why_not) if why_not else Verdict(INSTALL, f"install driver {wanted['version']}")


def of_driver(wanted: Wanted, facts: Any) -> set[str]:
    """Return the installed packages of the pinned driver."""
    return {name for name, version in facts.packages.items() if version == wanted["version"]}


def is_good(wanted: Wanted, facts: Any) -> bool:
    """Return whether the driver works for all GPUs and is new enough; ours must also be the pinned one, on hold."""
    seen = facts.answered
    minimum = minimum_driver(wanted, facts)
    if len(seen) < wanted["gpus"] or any(numbers(version) < numbers(minimum) for version in seen):
        return False
    if chips.too_old(wanted, facts):
        return False
    if stays(wanted, facts):
        return True
    return set(seen) == {wanted["version"]} and of_driver(wanted, facts) <= facts.held


def minimum_driver(wanted: Wanted, facts: Any) -> str:
    """Return the oldest driver release for the engine on the oldest GPU of this host."""
    oldest = chips.oldest(facts)
    for row in wanted.get("old_gpus", ()):
        if oldest is not None and oldest < tuple(row["below"]):
            return str(row["minimum"])
    return str(wanted["minimum"])


def stays(wanted: Wanted, facts: Any) -> bool:
    """Return whether this program must not replace the driver: it is foreign, or ours and newer."""
    if wanted.get("replace") or not present(facts):
        return False
    return not facts.managed or any(numbers(version) > numbers(wanted["version"]) for version in versions(facts))


def present(facts: Any) -> bool:
    """Return whether any part of a driver is on this host."""
    return bool(versions(facts) or driver_packages(facts) or facts.run_file)


def versions(facts: Any) -> list[str]:
    """Return the driver versions on this host or in its kernel, newest first."""
    found = {*facts.answered, *facts.libraries, module_on_disk(facts), facts.loaded} - {""}
    return sorted(found, key=numbers, reverse=True)


def module_on_disk(facts: Any) -> str:
    """Return the version of the module that the next boot of the running kernel loads; empty if there is none."""
    if facts.modules_known:
        return str(facts.modules.get(facts.kernel, ""))
    built = [version for name, version in facts.packages.items() if MODULE_PACKAGE.match(name)]
    return max(built, key=numbers) if built else ""


def driver_packages(facts: Any) -> list[str]:
    """Return the packages of any driver, ours or foreign."""
    return sorted(name for name in facts.packages if DRIVER_PACKAGE.match(name))


def impossible(wanted: Wanted, facts: Any) -> str:
    """Return why no driver can make this host usable; empty if one may."""
    expected = f"{wanted['gpus']} x {wanted['gpu']}"
    if wanted["container"] or facts.container:
        needed = f"a driver of release {minimum_driver(wanted, facts)} or newer"
        if facts.said and "mismatch" in facts.said:
            return (
                f"this container's driver library does not match the kernel module of the machine that runs it "
                f"({_mixed(facts)}); restart the container with that machine's driver, or reboot that machine"
            )
        return f"this container {_has(facts)} for {expected}; install {needed} on the machine that runs it"
    if facts.gpus < wanted["gpus"]:
        seen = f"{facts.gpus} NVIDIA GPUs are" if facts.gpus else "no NVIDIA GPU is"
        return f"{seen} on the PCI bus, and {expected} should be; choose a machine type with GPUs, or correct `gpu`"
    return chips.too_old(wanted, facts)


def not_installable(wanted: Wanted, facts: Any) -> str:
    """Return why the pinned driver cannot be installed, and what helps; empty if it can."""
    has, needed = f"this host {_has(facts)}", f"a driver of release {minimum_driver(wanted, facts)} or newer"
    if facts.run_file:
        return f"{has}, installed by NVIDIA's .run file; remove it with nvidia-uninstall and run this again"
    if facts.secure_boot:
        return (
            f"{has}, and Secure Boot is on: the kernel would refuse a module built here; "
            f"turn Secure Boot off for this machine, or use an image with {needed}, signed"
        )
    if facts.system not in wanted["repositories"] or facts.architecture not in REPOSITORY_ARCH:
        known = ", ".join(sorted(wanted["repositories"]))
        return f"llm-deploy installs drivers on {known}, not on {facts.system}; install {needed} by hand"
    theirs = [name for name in driver_packages(facts) if name in facts.held] if not facts.managed else []
    if theirs:
        return f"{has}, whose packages are on hold ({', '.join(theirs[:3])}); `apt-mark unhold` them and run this again"
    return chips.no_module(facts)


def _of_others(wanted: Wanted, facts: Any) -> Verdict:
    """Return what to do about a driver that we must not replace and that is not good enough at present."""
    minimum = minimum_driver(wanted, facts)
    replace = wanted.get("replace_hint", "") or "install another one"
    on_disk = module_on_disk(facts)
    fits = [version for version in (on_disk, _of_newer_kernel(facts)) if _has_library(facts, version)]
    if fits and numbers(fits[0]) >= numbers(minimum) and _waits_for_reboot(facts, fits[0]):
        return Verdict(REBOOT, reboot_due(fits[0], facts), fits[0])
    if on_disk and not fits:
        return Verdict(
            REFUSE,
            f"this host's driver is half upgraded: its library is {facts.libraries[-1]} and its kernel module on disk "
            f"{on_disk}; upgrade both together (`apt-get dist-upgrade`), reboot and run this again",
        )
    newest = facts.answered[0] if facts.answered else next(iter(versions(facts)), "")
    named = f"driver {newest}" if newest else "a driver without a version that can be read"
    if newest and numbers(newest) < numbers(minimum):
        words = f"this host has driver {newest}, which was not installed by llm-deploy, and {wanted['engine']} needs "
        return Verdict(REFUSE, f"{words}{minimum} or newer; upgrade it, or {replace}")
    if facts.answered:
        return Verdict(
            REFUSE,
            f"driver {facts.answered[0]} answers for {len(facts.answered)} of {wanted['gpus']} GPUs, and was not "
            "installed by llm-deploy, so it is left alone; `journalctl -k -g NVRM` says what is wrong with the others",
        )
    if on_disk and not facts.loaded:
        return Verdict(LOAD, f"load {named}")
    return Verdict(REFUSE, not_working(wanted, facts, f"this host has {named}"))


def not_working(wanted: Wanted, facts: Any, has: str) -> str:
    """Return why a foreign driver does not work, in one line with what helps."""
    replace = wanted.get("replace_hint", "") or "install another one"
    if facts.modules_known and facts.kernel not in facts.modules:
        kernel = facts.kernel
        why = f"no module of it is built for kernel {kernel}; see `dkms status` and install linux-headers-{kernel}"
    elif not facts.loaded and facts.secure_boot:
        why = "Secure Boot is on, and its module is not signed with an enrolled key, so it does not load; sign it"
    elif not facts.loaded:
        why = "its module does not load; `journalctl -k -g NVRM` says why"
    else:
        why = f"nvidia-smi does not answer ({facts.said or 'no output'}); `journalctl -k -g NVRM` says why"
    return f"{has}, which was not installed by llm-deploy and does not work: {why}; or {replace}"


def _has_library(facts: Any, version: str) -> bool:
    """Return whether this host has the user space of the module's version, as far as is known."""
    return bool(version) and (not facts.libraries or version in facts.libraries)


def _waits_for_reboot(facts: Any, due: str) -> bool:
    """Return whether the next boot starts another driver or another kernel than the running one."""
    if facts.nouveau:
        return True
    return facts.loaded != due if facts.loaded else due != module_on_disk(facts)


def _of_newer_kernel(facts: Any) -> str:
    """Return the version of the module that is built for the newest kernel, if that is newer than the running one."""
    newer = [kernel for kernel in facts.modules if numbers(kernel) > numbers(facts.kernel)]
    return str(facts.modules[max(newer, key=numbers)]) if newer else ""


def reboot_due(driver: str, facts: Any) -> str:
    """Return a sentence about what is in use until a reboot starts `driver`."""
    in_use = "nouveau" if facts.nouveau else f"driver {facts.loaded}" if facts.loaded else f"kernel {facts.kernel}"
    return f"driver {driver} is installed, and {in_use} in use until a reboot"


def _has(facts: Any) -> str:
    return f"has driver {facts.answered[0]}" if facts.answered else "has no NVIDIA driver that works"


def _mixed(facts: Any) -> str:
    return f"library {facts.libraries[-1] if facts.libraries else 'unknown'}, module {facts.loaded or 'unknown'}"
