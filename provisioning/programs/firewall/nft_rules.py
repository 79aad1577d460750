#!/usr/bin/env python3
"""Keep nftables tables in the kernel as in their files: no unit notices when `nft flush ruleset` removes them.

    nft-rules load RULES TABLE     load the file RULES, and record TABLE as the kernel then shows it
    nft-rules check RULES TABLE    exit 1 with the reason if the kernel shows something else
    nft-rules restore              reload each recorded table that the kernel lacks or shows differently
    nft-rules drop TABLE           remove TABLE and forget it

The record lasts until the next boot: then the units load the tables again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NFT = "nft"
LOADED = Path("/run/llm-deploy/nft")
WARNING = "<4>"
"""Prefix by which journald knows a line's priority."""

os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def listing(table: str) -> str:
    """Return the table as the kernel shows it, without counters; empty if there is none of that name."""
    done = subprocess.run(
        [NFT, "--stateless", "list", "table", "inet", table],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else ""


def sha256(path: str) -> str:
    """Return the SHA-256 of a file; empty if it is missing."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def load(rules: str, table: str) -> int:
    """Load the file and record the table; return nft's exit status."""
    done = subprocess.run([NFT, "--file", rules], check=False)
    if done.returncode != 0:
        return done.returncode
    note = {"rules": rules, "sha256": sha256(rules), "listing": listing(table)}
    new = LOADED / f".{table}.new"
    new.write_text(json.dumps(note), encoding="utf-8")
    new.replace(LOADED / f"{table}.json")
    return 0


def trouble(rules: str, table: str) -> str:
    """Return why the kernel's table differs from `rules`; empty if it does not."""
    shown = listing(table)
    if not shown:
        return f"table {table} is not in the kernel"
    try:
        note = json.loads((LOADED / f"{table}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"table {table} in the kernel was not loaded from {rules} since the boot"
    if note["listing"] != shown:
        return f"table {table} in the kernel differs from {rules}"
    if note["sha256"] != sha256(rules):
        return f"table {table} was loaded before {rules} changed"
    return ""


def restore() -> int:
    """Reload recorded tables that are lost; return 1 if that fails."""
    status = 0
    for path in sorted(LOADED.glob("*.json")):
        note = json.loads(path.read_text(encoding="utf-8"))
        table = path.stem
        if listing(table) == note["listing"]:
            continue
        print(f"{WARNING}table {table} was removed or changed; loading {note['rules']} again", file=sys.stderr)
        status = load(note["rules"], table) or status
    return 1 if status else 0


def drop(table: str) -> int:
    """Remove the table, which may be missing, and its record."""
    with suppress(FileNotFoundError):
        (LOADED / f"{table}.json").unlink()
    if listing(table):
        return subprocess.run([NFT, "delete", "table", "inet", table], check=False).returncode
    return 0


@contextmanager
def locked() -> Iterator[None]:
    """Let one program at a time load or remove tables."""
    LOADED.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (LOADED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(command: str, *words: str) -> int:
    """Run the command; return the exit status."""
    with locked():
        if command == "check":
            said = trouble(*words)
            if said:
                print(f"planned: load {words[0]}: {said}")
            return 1 if said else 0
        commands: dict[str, Callable[..., int]] = {"load": load, "restore": restore, "drop": drop}
        return commands[command](*words)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
