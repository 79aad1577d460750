"""How slow this machine is, measured once per test run: the factor for the deadlines of tests.

A loaded machine makes a test slow, and not red. What a test measures or promises itself (the seconds that a product's
own deadline takes) is not touched by this.
"""

import os
import subprocess
import sys
import time

VARIABLE = "LLM_TEST_SLOWNESS"
"""Environment variable with the factor, for the workers and for users."""

USUAL_S = 0.3
"""Wall time of `WORK`, three times, on two idle cores of a cloud machine of 2024."""

WORK = "import json, subprocess, threading; sum(range(2_000_000))"
MOST = 10.0
"""A larger factor would let a hanging test block the run for hours."""


def measured() -> float:
    """Return how many times longer than usual a small piece of work takes here, from 1 to MOST."""
    began = time.monotonic()
    for _ in range(3):
        subprocess.run([sys.executable, "-ISc", WORK], check=True)
    return min(MOST, max(1.0, (time.monotonic() - began) / USUAL_S))


def factor(workers: int = 1) -> float:
    """Return the run's factor, measured at the first call: more workers than cores slow each other down."""
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = f"{measured() * max(1.0, workers / (os.cpu_count() or 1)):.2f}"
    return float(os.environ[VARIABLE])


def patient(seconds: float) -> float:
    """Return the deadline here for something that usually takes less than `seconds`."""
    return seconds * factor()
