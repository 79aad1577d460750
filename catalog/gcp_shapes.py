"""How a machine type of the table is written in GCP's API: type, accelerator, disks, secure boot. Pure."""

from catalog.machines import Machine

WITH_ACCELERATOR = "+"
"""In the table, `n1-standard-4+nvidia-tesla-t4` is a machine type with a GPU added. Other types include their GPU."""

HYPERDISK_FAMILIES = ("a3", "a4", "c4", "n4")
"""Families with Hyperdisk: newer ones support nothing else, and Google's examples for A3 use it."""

SIGNED_DRIVER = False
"""Whether the NVIDIA drivers load under secure boot. Drivers that DKMS builds are not signed."""


def machine_type(name: str) -> str:
    """Return the machine type as in the API."""
    return name.partition(WITH_ACCELERATOR)[0]


def accelerator_type(name: str) -> str | None:
    """Return the accelerator to add to the machine type; None for types that include a GPU or have none."""
    return name.partition(WITH_ACCELERATOR)[2] or None


def family(name: str) -> str:
    """Return the family of a type, e.g. `g2`."""
    return name.partition("-")[0]


def disk_type(name: str) -> str:
    """Return the type of all disks of a machine."""
    return "hyperdisk-balanced" if family(name) in HYPERDISK_FAMILIES else "pd-balanced"


def secure_boot(machine: Machine) -> bool:
    """Return whether the machine can require signed kernel modules."""
    return machine.gpu is None or SIGNED_DRIVER
