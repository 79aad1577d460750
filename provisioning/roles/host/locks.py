"""The locks in provisioning/locks: exact packages with hashes, from which a host builds an environment."""

from pathlib import Path

LOCKS_DIR = Path(__file__).resolve().parents[2] / "locks"


def lock_text(name: str) -> str:
    """Return the lock called `name`, e.g. `vllm-cuda`."""
    return (LOCKS_DIR / f"{name}.txt").read_text(encoding="utf-8")


def version_in(lock: str, package: str) -> str:
    """Return the version of `package` in a lock."""
    start = f"{package}=="
    return next(line for line in lock.splitlines() if line.startswith(start)).split()[0].removeprefix(start)
