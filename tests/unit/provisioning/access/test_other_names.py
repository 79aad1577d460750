"""A gateway of two stacks or inventories is reported before its clients lose their keys."""

import os
from pathlib import Path

import pytest

from provisioning.access.other_names import mention_other_name
from provisioning.apply import provision as module
from provisioning.apply.provision import plan, provision
from provisioning.converge.result import HostResult
from provisioning.hosts.target import Target
from serving.endpoint import Endpoint, endpoint_of, write_endpoint
from tests.unit.provisioning.records import host_values, stack

OUTPUTS = stack(host_values("one", address="203.0.113.7"))
WARNING = "! https://203.0.113.7 was last provisioned as other: its API keys are replaced by those of test\n"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path / "runs"))
    return tmp_path


def endpoint(name: str, *hosts: str) -> Endpoint:
    return endpoint_of(name, hosts, OUTPUTS.servings, OUTPUTS.gateway, ca=None, keys_file=Path("keys.json"))


@pytest.mark.parametrize(
    ("hosts", "own_since_s", "announced"),
    [
        pytest.param(["203.0.113.9", "203.0.113.7"], None, True, id="one of its hosts"),
        pytest.param(["203.0.113.7"], 1, True, id="provisioned under this name before"),
        pytest.param(["203.0.113.7"], 3, False, id="provisioned under this name since"),
        pytest.param(["203.0.113.9"], None, False, id="another host"),
    ],
)
def test_gateway_with_another_name_is_reported(
    capsys: pytest.CaptureFixture[str], hosts: list[str], own_since_s: int | None, *, announced: bool
) -> None:
    """Once a second name for a host replaced its API keys without a word, and clients got 401."""
    os.utime(write_endpoint(endpoint("other", *hosts)), (2, 2))
    if own_since_s is not None:
        os.utime(write_endpoint(endpoint("test", "203.0.113.7")), (own_since_s, own_since_s))
    mention_other_name(endpoint("test", "203.0.113.7"))
    assert capsys.readouterr().err == (WARNING if announced else "")


def test_unreadable_endpoint_is_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    write_endpoint(endpoint("other", "203.0.113.7")).write_text("{")
    mention_other_name(endpoint("test", "203.0.113.7"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("task", ["plan", "provision"])
def test_plan_and_provision_report_another_name(
    task: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_endpoint(endpoint("other", "203.0.113.7"))
    monkeypatch.setattr(module, "load", lambda _: OUTPUTS)
    monkeypatch.setattr(module, "bring", lambda host, *_, **__: HostResult(host=host.name, ok=True))
    run = {"plan": plan, "provision": provision}[task]
    assert run(Target(stack="test"), names=[], roles=["gateway"], at_once=1) == 0
    assert WARNING in capsys.readouterr().err
