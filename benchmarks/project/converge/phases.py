"""The phases of our own run: those in its result file, and the rest, which is interpreter and imports."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def read_phases(folder: Path) -> dict[str, Any]:
    """Return the host's part of the newest provision.json below `folder`."""
    newest = max(folder.glob("runs/*/2*/provision.json"), key=lambda path: path.stat().st_mtime_ns)
    (host,) = json.loads(newest.read_text())["hosts"]
    return dict(host)


def phase_costs(runs: Sequence[tuple[float, dict[str, Any]]]) -> dict[str, float]:
    """Return the median seconds of each phase. A run is its total time and the host's entry in provision.json."""
    costs: dict[str, list[float]] = {}
    for whole_s, host in runs:
        inside = host["phases"]
        agent_s = inside["agent_start"] + inside["facts"] + inside["compare_and_change"]
        for name, seconds in (
            ("interpreter, imports, inventory, list, words", whole_s - inside["connect"] - inside["agent"]),
            ("SSH connection", inside["connect"]),
            ("SSH session, sudo, Python on the host", inside["agent"] - agent_s),
            ("agent's own start", inside["agent_start"]),
            ("facts", inside["facts"]),
            ("compare", inside["compare_and_change"]),
        ):
            costs.setdefault(name, []).append(seconds)
    return {name: statistics.median(seconds) for name, seconds in costs.items()}
