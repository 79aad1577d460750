"""Whether a GPU of this host computes, as nvidia-smi says. Asked only in doubt: an answer takes a tenth of a second."""

import shutil
import subprocess

ASK_S = 2.0
QUESTION = ("--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")


def gpu_busy() -> bool | None:
    """Return whether any GPU is busy; None if nvidia-smi is missing or does not answer in time."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        done = subprocess.run([program, *QUESTION], stdout=subprocess.PIPE, text=True, check=False, timeout=ASK_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    numbers = [line.strip() for line in done.stdout.splitlines()]
    return any(number.isdigit() and int(number) > 0 for number in numbers) if numbers else None
