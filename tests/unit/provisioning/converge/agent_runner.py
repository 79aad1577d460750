"""Runs the agent on this machine, in a separate process and over the same pipes as on a host, inside one folder."""

import getpass
import grp
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provisioning.converge.agent_zip import agent_zip
from provisioning.converge.payload import payload_of
from provisioning.converge.resources import Resource
from tests.slowness import patient

ME: dict[str, Any] = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}
"""Owner and group of files, so that the tests need no root."""


@dataclass(frozen=True)
class Ended:
    """The agent's output and exit status."""

    status: int
    events: list[dict[str, Any]]
    output: str

    def of(self, resource: str) -> dict[str, Any]:
        """Return the last event of kind `resource` about one id."""
        return next(e for e in reversed(self.events) if e["event"] == "resource" and e["id"] == resource)

    @property
    def statuses(self) -> dict[str, str]:
        """Status by id."""
        return {event["id"]: event["status"] for event in self.events if event["event"] == "resource"}


def run_agent(folder: Path, resources: Sequence[Resource], mode: str = "apply") -> Ended:
    """Run the agent the way a bundle's installer does: from a folder, with no controller."""
    payload = payload_of(resources, dry_run=False)
    blobs = folder / "bundle" / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    (folder / "bundle" / "agent.pyz").write_bytes(agent_zip())
    (folder / "bundle" / "resources.json").write_text(json.dumps(payload.document))
    for sha256, path in payload.blobs.items():
        shutil.copyfile(path, blobs / sha256)
    return run_folder(folder, mode)


def run_folder(folder: Path, mode: str = "apply") -> Ended:
    """Run the agent with the list and the blobs that are already in `folder`."""
    bundle = folder / "bundle"
    command = [sys.executable, "-IS", str(bundle / "agent.pyz"), mode, str(bundle / "resources.json")]
    command += ["--blobs", str(bundle / "blobs"), "--state", str(folder / "state")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patient(60), check=False)
    assert done.stderr == ""
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return Ended(done.returncode, events, done.stdout)
