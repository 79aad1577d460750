"""An upgrade whose driver counts only after a reboot: the reboot is made, or named as what is missing."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from core.errors import HostError
from provisioning.apply import reboots
from provisioning.converge.result import HostResult, Outcome
from provisioning.hosts.target import Target
from provisioning.operate import upgrade as module
from provisioning.operate.host_status import HostStatus
from provisioning.operate.unit_state import UnitState
from provisioning.operate.upgrade import upgrade_engine
from tests.unit.provisioning.records import host_values, stack

DRIVER = Outcome(id="command:nvidia-driver", status="changed", changes=("run install",), reboot="550 is in use")
UNIT = Outcome(id="unit:vllm.service", status="skipped", error="depends on a reboot")
WAITS = HostResult(host="one", ok=False, changed=(DRIVER,), skipped=(UNIT,))
DONE = HostResult(host="one", ok=True, changed=(Outcome(id=UNIT.id, status="changed"),))


def upgraded(
    monkeypatch: pytest.MonkeyPatch, folder: Path, results: list[HostResult], *, cloud: str, outputs: Any = None
) -> tuple[int, list[str]]:
    """Upgrade one host, each run over it ending as in `results`; return the reboots, too. Only the wire is replaced."""
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(folder / "runs"))
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(folder / "state"))
    ends = iter(results)
    rebooted: list[str] = []

    def converge(*_: Any, **__: Any) -> HostResult:
        return next(ends)

    engine = UnitState(name="vllm.service", active=True, words="active (running)")
    monkeypatch.setattr(module, "load", lambda _: outputs or stack(host_values(cloud=cloud)))
    monkeypatch.setattr(module, "connect", contextlib.nullcontext)
    monkeypatch.setattr(
        module, "ask", lambda *_: HostStatus(host="one", address="x", engine_version="1", units=(engine,))
    )
    monkeypatch.setattr(reboots, "converge", converge)
    monkeypatch.setattr(reboots, "reboot_and_wait", lambda host, _: rebooted.append(host.name))
    return upgrade_engine(Target(stack="test"), names=[], allow_downgrade=False), rebooted


def test_cloud_host_is_rebooted_during_the_upgrade(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert upgraded(monkeypatch, tmp_path, [WAITS, DONE], cloud="aws") == (0, ["one"])


def test_reboot_of_an_existing_host_is_left_to_its_owner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="nvidia-driver: 550 is in use; existing hosts are not rebooted automatically"):
        upgraded(monkeypatch, tmp_path, [WAITS], cloud="existing")


def test_second_pending_reboot_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"vllm\.service: depends on a reboot"):
        upgraded(monkeypatch, tmp_path, [WAITS, WAITS], cloud="aws")


def test_gateway_host_of_a_tunnel_has_no_engine_to_upgrade(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Once it came after the engine's host, and failed."""
    tunnel = {"engine": "one", "gateway": "front"}
    published = stack(host_values("one"), host_values("front"), tunnel=tunnel)
    assert upgraded(monkeypatch, tmp_path, [DONE], cloud="existing", outputs=published) == (0, [])
