"""Input and facts of the driver program, for tests of its decisions."""

from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

from provisioning.roles.host.nvidia_driver import NVIDIA

KERNEL, NEXT_KERNEL, OLD_KERNEL = "6.8.0-45-generic", "6.8.0-60-generic", "6.8.0-31-generic"
L4, V100, P100, K80, B200, T4 = 0x27B8, 0x1DB1, 0x15F8, 0x102D, 0x2901, 0x1EB8

WANTED: dict[str, Any] = {
    "engine": "vllm",
    "capability": [7, 5],
    "minimum": "580",
    "old_gpus": [],
    "replace": False,
    "replace_hint": "write gpu.replace_driver: true for host one",
    "version": "580.159.04",
    "gpu": "L4",
    "gpus": 2,
    "container": False,
    "key": "/key.asc",
    "repositories": {name: asdict(each) for name, each in NVIDIA.repositories.items()},
}
OLLAMA: dict[str, Any] = {
    **WANTED,
    "engine": "ollama",
    "capability": [5, 0],
    "minimum": "550",
    "old_gpus": [{"below": [7, 0], "minimum": "570"}],
}
BARE: dict[str, Any] = {
    "answered": [],
    "said": "",
    "capabilities": [],
    "gpus": 2,
    "devices": [L4, L4],
    "switches": 0,
    "bridges": 0,
    "secure_boot": False,
    "kernel": KERNEL,
    "boot_id": "a",
    "loaded": "",
    "modules": {},
    "modules_known": True,
    "libraries": [],
    "nouveau": False,
    "managed": False,
    "run_file": False,
    "container": "",
    "system": "ubuntu-24.04",
    "architecture": "amd64",
    "packages": {},
    "held": set(),
}


def facts(**changed: Any) -> SimpleNamespace:
    """Return a host with two L4 and no driver, with these facts changed."""
    return SimpleNamespace(**{**BARE, **changed})
