"""How slow this machine is, measured once per test run: deadlines of tests are multiplied by it.

A loaded machine makes a test slow, and not red. What a test measures or promises itself (the seconds that a product's
own deadline takes) is not touched by this.
"""

import os
import subprocess
import sys
import time

VARIABLE = "LLM_TEST_SLOWNESS"
"""Environment variable that carries the factor to the workers, and lets a person write one."""

USUAL_S = 0.3
"""Wall time of `WORK`, three times, on two idle cores of a cloud machine of 2024."""

WORK = "import json, subprocess, threading; sum(range(2_000_000))"
MOST = 10.0
"""Beyond it a test that hangs would hold up the run for hours."""


def measured() -> float:
    """Return how many times longer a small piece of work takes here than usual, from 1 to MOST."""
    began = time.monotonic()
    for _ in range(3):
        subprocess.run([sys.executable, "-ISc", WORK], check=True)
    return min(MOST, max(1.0, (time.monotonic() - began) / USUAL_S))


def factor(workers: int = 1) -> float:
    """Return the run's factor, measured when it is first asked for: workers beyond the cores slow each other down."""
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = f"{measured() * max(1.0, workers / (os.cpu_count() or 1)):.2f}"
    return float(os.environ[VARIABLE])


def patient(seconds: float) -> float:
    """Return for how long something that usually takes less than `seconds` is waited for here."""
    return seconds * factor()
