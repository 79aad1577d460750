"""The smoke test against a complete machine: real vLLM with two adapters behind the real gateway.

After a reboot it runs in test_adapters.py.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from provisioning.apply.desired_state import desired_state
from provisioning.roles import ROLES
from serving.endpoint import Endpoint
from serving.smoke.run import smoke
from tests.machine.served import Served

READY_S = 300


@pytest.fixture
def endpoint(served_machine: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """The endpoint as `provision` writes it; results go to the test's own folder."""
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path))
    monkeypatch.delenv("LLM_DEPLOY_RUN", raising=False)
    endpoint = desired_state(served_machine.outputs, [served_machine.host], ROLES).endpoint
    assert endpoint
    return endpoint


def result(endpoint: Endpoint, tmp_path: Path) -> dict[str, Any]:
    """Return what the smoke test wrote."""
    kept: dict[str, Any] = json.loads((tmp_path / endpoint.stack / "latest" / "smoke.json").read_text())
    return kept


def test_whole_machine_passes(endpoint: Endpoint, tmp_path: Path) -> None:
    assert smoke(endpoint, wait_s=READY_S) == 0, result(endpoint, tmp_path)
    names = {check["name"] for check in result(endpoint, tmp_path)["checks"]}
    assert {"differs[contract]", "differs[summary]", "answers[contract@3]", "engine_port_closed", "speed"} <= names
