"""Gateways learn which names are served, so that they refuse no request for an adapter that was added."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.contract.outputs import HostRecord
from provisioning.apply import gateway_names
from provisioning.converge.resources import File, Resource
from provisioning.roles.gateway.process import Places
from serving.endpoint import endpoint_file
from tests.unit.provisioning.records import host_values, stack


@pytest.mark.parametrize("provisioned", [True, False])
def test_gateway_on_the_engines_host_gets_the_names_of_its_adapters(
    provisioned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It answered 404 for an adapter that `make adapters` had added."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    told: dict[str, str] = {}

    def converge(host: HostRecord, resources: Sequence[Resource], **_: Any) -> SimpleNamespace:
        policy = f"{Places().lua}/policy.lua"
        told[host.name] = next(
            str(each.content) for each in resources if isinstance(each, File) and each.path == policy
        )
        return SimpleNamespace(ok=True)

    monkeypatch.setattr(gateway_names, "converge", converge)
    outputs = stack(host_values("one"), host_values("two"))
    if provisioned:
        endpoint_file(outputs.stack).parent.mkdir(parents=True)
        endpoint_file(outputs.stack).write_text("{}")
    gateway_names.tell_gateway(outputs, {})
    assert sorted(told) == (["one", "two"] if provisioned else [])
    assert ("no gateway was changed" in capsys.readouterr().err) is not provisioned
    assert all(f'"{name}"' in text for text in told.values() for name in outputs.serving.served_names)
