#!/usr/bin/env python3
"""Install the NVIDIA driver that an engine needs; keep an installed driver that is good enough.

    nvidia-driver WANTED check | install | check-repository | repository | check-fabric | fabric

WANTED is the JSON file that provisioning/roles/host/nvidia.py writes. `install` exits 75 if the driver is installed and
needs a reboot, which it does not do itself; it may be run again before or after the reboot. Its modules are in the
folder llm_nvidia beside this file.
"""

import sys
from pathlib import Path

sys.dont_write_bytecode = True  # the folder is the role's
sys.path.insert(0, str(Path(__file__).resolve().parent))

from llm_nvidia.main import main  # type: ignore[import-not-found]  # noqa: E402  # beside this file, wherever that is

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
