"""The GPUs on the PCI bus: generation, needed kernel module, interconnect. Takes facts, returns values and texts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Wanted = dict[str, Any]

MAXWELL, TURING, BLACKWELL = 0x1340, 0x1E00, 0x2900
"""The first PCI device numbers of these generations; NVIDIA numbers its chips upwards (pci.ids, vendor 10de).

Driver 580 has the open kernel module for Turing and newer (Blackwell requires it), and the proprietary one for Maxwell,
Pascal and Volta, whose last branch is 580. It has no module for Kepler, such as a K80.
Source: NVIDIA Driver Installation Guide, Kernel Modules.
"""

NVLINK5 = (0x2901, 0x2909, 0x3182)
"""B200 and B300 on an HGX board: their switches are not on the PCI bus (pci.ids)."""

RACK = (0x2941, 0x31C2, 0x31C3)
"""GB200 and GB300: the switch trays of the rack run the fabric manager, the host does not (pci.ids)."""


def oldest(facts: Any) -> tuple[int, ...] | None:
    """Return the compute capability of the oldest GPU; None if neither a driver nor a device number gives it."""
    known = [
        tuple(int(part) for part in each.split(".")) for each in facts.capabilities if each.replace(".", "").isdigit()
    ]
    if known:
        return min(known)
    if not facts.devices:
        return None
    first = min(facts.devices)
    if first < MAXWELL:
        return (3, 0)
    return None if first >= TURING else _before_turing(first)


def _before_turing(device: int) -> tuple[int, int]:
    """Return a lower bound of the compute capability of a Maxwell, Pascal or Volta GPU."""
    if device >= 0x1D81:  # noqa: PLR2004  # GV100, the only Volta
        return (7, 0)
    return (6, 0) if device in range(0x15F0, 0x1600) or device >= 0x1B00 else (5, 0)  # noqa: PLR2004


def too_old(wanted: Wanted, facts: Any) -> str:
    """Return why the engine cannot use this host's GPUs; empty if it can, or if that is unknown."""
    least, has = wanted.get("capability"), oldest(facts)
    if not least or has is None or has >= tuple(least):
        return ""
    needs, found = (".".join(map(str, each)) for each in (least, has))
    return f"{wanted['engine']} needs a GPU of compute capability {needs}, and one of this host has {found}; " + (
        "serve with ollama, or use another host" if wanted["engine"] == "vllm" else "use another host"
    )


def no_module(facts: Any) -> str:
    """Return why driver 580 has no kernel module for these GPUs together; empty if it has one."""
    if any(device < MAXWELL for device in facts.devices):
        return "a GPU of this host is older than Maxwell, and no driver that the engines can use supports it"
    if any(device < TURING for device in facts.devices) and any(device >= BLACKWELL for device in facts.devices):
        return "this host has GPUs before Turing beside Blackwell, and no kernel module drives both; remove one kind"
    return ""


def needs_proprietary(wanted: Wanted, facts: Any) -> bool:
    """Return whether a GPU of this host is older than Turing, so that the open kernel module does not support it.

    The PCI bus decides; if it has no device numbers, the host's record decides.
    """
    return any(device < TURING for device in facts.devices) if facts.devices else bool(wanted.get("before_turing"))


def has_nvlink5(facts: Any) -> bool:
    """Return whether the GPUs are joined by switches behind bridges: HGX B200 and B300.

    A virtual machine with one of these GPUs and no bridge has no fabric to start.
    """
    return bool(facts.bridges) or sum(device in NVLINK5 for device in facts.devices) > 1


def needs_fabric(facts: Any) -> bool:
    """Return whether CUDA needs the fabric manager on this host."""
    return bool(facts.switches) or has_nvlink5(facts)
