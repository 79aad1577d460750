"""Pools of stack files for tests of clouds."""

from typing import Any


def served(name: str) -> dict[str, Any]:
    """Return the `serving` of a pool with a model of this name."""
    source = {"kind": "hub", "repo": "Qwen/Qwen2.5-0.5B-Instruct", "revision": "7a" * 20}
    return {"model": {"name": name, "source": source}}


def behind(**pools: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a stack file with the machines of these pools behind a gateway's machine."""
    return {
        "gateway": {"machine": {}, "max_concurrency": 8},
        "pools": {name: {"machine": machine, "serving": served(name)} for name, machine in pools.items()},
    }
