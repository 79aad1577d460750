"""What GCP wants said about a machine type of our table: type, accelerators, disks, scheduling. Pure."""

from catalog.machines import Machine

WITH_ACCELERATOR = "+"
"""In our table, `n1-standard-4+nvidia-tesla-t4` is a machine type with a GPU beside it; other types bring theirs."""

HYPERDISK_FAMILIES = ("a3", "a4", "c4", "n4")
"""Families whose disks are Hyperdisk: newer ones take nothing else, and Google's examples for A3 use it."""

SIGNED_DRIVER = False
"""Whether the NVIDIA drivers that we know of load under secure boot: those that DKMS builds are not signed."""


def machine_type(name: str) -> str:
    """Return the machine type as the API has it."""
    return name.partition(WITH_ACCELERATOR)[0]


def accelerator_type(name: str) -> str | None:
    """Return the accelerator that is asked for beside the machine type; None for types that bring theirs or none."""
    return name.partition(WITH_ACCELERATOR)[2] or None


def family(name: str) -> str:
    """Return the part of a type that names the generation, e.g. `g2`."""
    return name.partition("-")[0]


def disk_type(name: str) -> str:
    """Return the type of all disks of a machine."""
    return "hyperdisk-balanced" if family(name) in HYPERDISK_FAMILIES else "pd-balanced"


def secure_boot(machine: Machine) -> bool:
    """Return whether the machine may insist on signed kernel modules."""
    return machine.gpu is None or SIGNED_DRIVER
