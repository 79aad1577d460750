#!/usr/bin/env python3
"""Bring this host's NVIDIA driver to what an engine needs, and leave alone one that is good enough.

    nvidia-driver WANTED check | install | check-repository | repository | check-fabric | fabric

WANTED is the JSON file that provisioning/roles/host/nvidia.py writes. `install` exits 75 when the driver is installed
and
works only after a reboot, which it leaves to others; whoever runs it again before or after that gets on. Its parts lie
in the folder llm_nvidia beside this file.
"""

import sys
from pathlib import Path

sys.dont_write_bytecode = True  # the folder is the role's
sys.path.insert(0, str(Path(__file__).resolve().parent))

from llm_nvidia.main import main  # type: ignore[import-not-found]  # noqa: E402  # beside this file, wherever that is

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
