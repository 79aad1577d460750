"""From a GPU's name in NVIDIA's driver to its row in the GPU table and its compute capability.

A name belongs to a row only if it is exactly that card. A variant (RTX 4090 D), a laptop GPU, a vGPU profile
(A100-10C) or a MIG slice keeps its own name: it is less than the full card, and the host reports its memory.
"""

import re
from functools import cache

from catalog.machines import gpu_models
from catalog.tables import rows
from infra.capacity.gpu_features import Capability
from infra.contract.outputs import Gpu

MAKER = re.compile(r"^(NVIDIA|Tesla|GRID|Quadro|GeForce)\s+", re.IGNORECASE)
FORM = re.compile(r"SXM\d?|HBM\d\w?", re.IGNORECASE)
"""Words that the driver's name may contain in addition to the words of its row."""

PCIE = re.compile(r"PCIE", re.IGNORECASE)
AS_FAST_ON_PCIE = ("A100-40GB", "A100-80GB")
"""Rows that include the PCIe card; the PCIe card of an H100 has slower memory and its own row."""

WITHOUT_CUDA = re.compile(r"[A-Z0-9]+(-\d+)?-\d+[AB]")
"""vGPU profiles for applications (A) and desktops (B). Source: NVIDIA vGPU User Guide: CUDA is for C and Q series."""


def gpu_model(name: str) -> str:
    """Return the GPU table's name of a GPU as nvidia-smi names it; without a row, that name without the maker."""
    return next((row for row in gpu_models() if _is_row(name, row)), _without_maker(name))


def capability_of(name: str) -> Capability | None:
    """Return the compute capability of a GPU by its name, vGPUs and MIG slices included; None if it is unknown."""
    known = gpu_models().get(name)
    if known is not None:
        return known.compute_capability
    bare = _without_maker(name)
    return next((capability for names, capability in _series() if names.match(bare)), None)


def capability_on(gpu: Gpu) -> Capability | None:
    """Return the compute capability of a host's GPUs, from the record or by their name; None if it is unknown."""
    if gpu.compute_capability is None:
        return capability_of(gpu.model)
    major, minor = gpu.compute_capability.split(".")
    return (int(major), int(minor))


def lacks_cuda(name: str) -> bool:
    """Return whether this is a vGPU profile without CUDA."""
    return bool(WITHOUT_CUDA.fullmatch(_without_maker(name)))


def _is_row(name: str, row: str) -> bool:
    # A Quadro or GRID with the same number is another card.
    bare = re.sub(r"^(NVIDIA\s+)?((Tesla|GeForce)\s+)?", "", name.strip(), flags=re.IGNORECASE)
    words = [word.upper() for word in re.split(r"[\s-]+", bare) if word and not FORM.fullmatch(word)]
    if row in AS_FAST_ON_PCIE:
        words = [word for word in words if not PCIE.fullmatch(word)]
    known = row.upper().replace("-", " ").split()
    nominal = f"{gpu_models()[row].vram_gib or 0:.0f}GB"
    return words == known or (words == [*known, nominal] and nominal not in known)


def _without_maker(name: str) -> str:
    bare = name.strip()
    while MAKER.match(bare):
        bare = MAKER.sub("", bare)
    return bare


@cache
def _series() -> tuple[tuple[re.Pattern[str], Capability], ...]:
    found = []
    for row in rows("gpu_series.csv"):
        major, minor = row["compute_capability"].split(".")
        found.append((re.compile(rf"({row['names']})(?![A-Za-z0-9])", re.IGNORECASE), (int(major), int(minor))))
    return tuple(found)
