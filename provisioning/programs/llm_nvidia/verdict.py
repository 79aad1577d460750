"""Whether a driver will do, and why none can be had. Decides from facts alone."""

from __future__ import annotations

from .host import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Wanted = dict[str, Any]

REPOSITORY_ARCH = {"amd64": "x86_64", "arm64": "sbsa"}


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
