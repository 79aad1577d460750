"""Run the program that fetches models and adapters as a host runs it."""

import os
import subprocess
import sys
from pathlib import Path

from core.paths import CHECKOUT
from tests.doubles.hub import REPO, REVISION, HubDouble
from tests.slowness import patient

PROGRAM = CHECKOUT / "provisioning/programs/fetch/fetch_model.py"


def run(hub: HubDouble, folder: Path, *more: str, revision: str = REVISION, token: str = "") -> tuple[int, str]:
    """Return exit status and stderr of the program."""
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": token, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), REPO, revision, str(folder), *more],
        env=environment,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    return done.returncode, done.stderr
