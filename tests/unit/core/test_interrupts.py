"""Ctrl-C or SIGTERM at any time: one line, status 130 or 143, no traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.paths import CHECKOUT
from tests.slowness import patient

PRESS = """\
import importlib.abc, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Press(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == os.environ["PRESS_AT"]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), int(os.environ.get("PRESS", signal.SIGINT)))
        return None
sys.meta_path.insert(0, Press())
"""
"""A sitecustomize.py that sends Ctrl-C when a certain module is imported."""

STATUS = ("status", "--inventory", "hosts.json")
MOMENTS = {
    "fab, before fabric": ("provisioning", "fabric", STATUS),
    "fab, before paramiko": ("provisioning", "paramiko", STATUS),
    "fab, before the tasks": ("provisioning", "provisioning.adapters.tasks", STATUS),
    "status, before its modules": ("provisioning", "provisioning.operate.status", STATUS),
    "status, while its modules load": ("provisioning", "pydantic", STATUS),
    "provision": ("provisioning", "provisioning.apply.provision", ("provision", *STATUS[1:])),
    "plan": ("provisioning", "infra.contract.outputs", ("plan", *STATUS[1:])),
    "adopt": ("provisioning", "provisioning.existing.adopt", ("adopt", "--host", "root@127.0.0.1:1")),
    "logs": ("provisioning", "provisioning.operate.logs", ("logs", *STATUS[1:])),
    "adapters": ("provisioning", "provisioning.adapters.listing", ("adapters:list", *STATUS[1:])),
    "preview": ("infra.lifecycle.commands", "infra.config", ("preview", "--stack", "local")),
    "up, before its own modules": ("infra.lifecycle.commands", "core.arguments", ("up", "--stack", "local")),
    "leftovers": ("infra.lifecycle.orphans.command", "core.console", ("--cloud", "aws")),
    "preflight": ("infra.lifecycle.preflight.command", "argparse", ("--stack", "aws-cpu")),
    "demo": ("tools.demo", "core.paths", ()),
    "a machine by hand": ("infra.clouds.local.machine", "cryptography", ("list",)),
    "smoke of an endpoint": ("serving.smoke", "core.errors", ("--endpoint", "x")),
    "down": ("infra.lifecycle.commands", "pydantic", ("down", "--stack", "local")),
}


@pytest.mark.parametrize(("module", "moment", "words"), MOMENTS.values(), ids=MOMENTS.keys())
def test_ctrl_c_prints_one_line(module: str, moment: str, words: tuple[str, ...], tmp_path: Path) -> None:
    """Half a second after the start of `make provision` it once printed a traceback from fabric's imports."""
    assert pressed(signal.SIGINT, module, moment, words, tmp_path) == 130


@pytest.mark.parametrize("name", ["fab, before fabric", "status, while its modules load", "down"])
def test_sigterm_prints_one_line(name: str, tmp_path: Path) -> None:
    """A fab task once ended silently after SIGTERM."""
    assert pressed(signal.SIGTERM, *MOMENTS[name], tmp_path) == 143


def pressed(number: signal.Signals, module: str, moment: str, words: tuple[str, ...], tmp_path: Path) -> int:
    """Return the status of a command that receives a signal when it imports the module `moment`."""
    (tmp_path / "hosts.json").write_text('{"stack": "x", "hosts": [], "serving": {}}')
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(PRESS)
    path = f"{tmp_path}/site:{CHECKOUT}"
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": path,
            "PRESS_AT": moment,
            "PRESS": str(int(number)),
            "LLM_DEPLOY_STATE": str(tmp_path / "state"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(60),
    )
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] != []
    assert sorted(each.name for each in tmp_path.iterdir() if each.name not in ("state", "site")) == ["hosts.json"]
    return done.returncode
