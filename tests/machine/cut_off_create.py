"""Makes a machine and kills itself at a chosen step: `cut_off_create.py STATE STEP`, steps as in STEPS.

A program, not a test: only another process can see the state after SIGKILL.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL
from typing import Any

from infra.clouds.local import machine
from infra.clouds.local.parts import disk, guest, host, record
from infra.clouds.local.parts.network import Network
from infra.clouds.local.parts.runner import SupervisorRunner, SystemdRunner
from tests.machine.machines import making_machines

STEPS: dict[str, tuple[Any, str, bool]] = {
    "record written": (record.MachineRecord, "save", True),
    "address chosen": (machine, "_claim", True),
    "disk made": (disk, "_mount", False),
    "disk mounted": (disk, "_mount", True),
    "root file system half copied": (host, "run", False),
    "host key made": (guest, "write_identity", True),
    "keys written": (guest, "write_authorized_keys", True),
    "network namespace made": (Network, "_outside", False),
    "network up": (Network, "up", True),
    "machine started": (None, "start", True),
    "machine answers": (machine, "_answers", True),
}
"""Where the process dies: owner and name of a function, and whether after it (or before)."""


def arm(owner: Any, name: str, *, after: bool) -> None:
    """Replace a function by one that ends this process."""
    real: Callable[..., Any] = getattr(owner, name)

    def deadly(*arguments: Any, **options: Any) -> Any:
        if name == "run":
            if arguments[0] != "cp":
                return real(*arguments, **options)
            Path(arguments[-1]).mkdir(exist_ok=True)
            (Path(arguments[-1]) / "half").write_text("copied")
        elif after:
            real(*arguments, **options)
        os.kill(os.getpid(), SIGKILL)
        return None

    setattr(owner, name, deadly)


def main() -> None:
    """Die at the step."""
    owner, name, after = STEPS[sys.argv[2]]
    for each in [owner] if owner else [SupervisorRunner, SystemdRunner]:
        arm(each, name, after=after)
    with making_machines(Path(sys.argv[1])) as make:
        make("one")


if __name__ == "__main__":
    main()
