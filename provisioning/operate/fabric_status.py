"""The state of a host's NVLink fabric for `status`, from the output of programs/nvidia/nvlink_fabric.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MANAGER = "nvidia-fabricmanager"
JOINED, SUCCESS = "Completed", ("Success", "N/A", "[N/A]", "")
"""What nvidia-smi prints for a GPU that has joined the fabric. The status matters only in this state."""


@dataclass(frozen=True, kw_only=True)
class Fabric:
    """The NVLink fabric of a host with NVLink switches."""

    manager: str
    """systemd's word for the fabric manager, e.g. `active`; empty when it is not installed."""
    state: str
    """State of the GPU that is furthest behind, as nvidia-smi prints it; empty if the driver does not report it."""
    problem: str
    """Why CUDA programs do not start, in words; empty when the GPUs have joined the fabric."""

    @property
    def words(self) -> str:
        """The line for people."""
        if self.problem:
            return self.problem
        gpus = "the GPUs have joined" if self.state else "the driver does not report the state"
        return f"{gpus}; {MANAGER} is {self.manager}" if self.manager else gpus


def read_fabric(seen: Mapping[str, Any] | None) -> Fabric | None:
    """Return the fabric from what the program printed; None for a host without one."""
    if seen is None:
        return None
    states = [(str(state), str(status)) for state, status in seen["states"]]
    behind = next((state for state, _ in states if state != JOINED), "")
    failed = next((status for state, status in states if state == JOINED and status not in SUCCESS), "")
    manager, state = str(seen["manager"]), behind or (JOINED if states else "")
    elsewhere = not manager and state == JOINED and not failed  # the hypervisor runs the manager
    if seen["has_switches"] and manager != "active" and not elsewhere:
        how = f"is {manager}" if manager else "is not installed"
        problem = f"{MANAGER} {how}, so CUDA ends with error 802; `journalctl -u {MANAGER}` on the host says why"
    elif behind:
        problem = f"a GPU has not joined the NVLink fabric (state {behind}), so CUDA ends with error 802"
    elif failed:
        problem = f"a GPU failed to join the NVLink fabric ({failed}); `journalctl -u {MANAGER}` on the host says why"
    else:
        problem = ""
    return Fabric(manager=manager, state=state, problem=problem)
