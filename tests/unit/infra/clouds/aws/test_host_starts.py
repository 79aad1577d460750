"""Hosts on AWS that were stopped or terminated by hand: `up` waits for their final state and reports it."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from core.errors import DeployError
from infra.clouds.aws import host_starts
from infra.clouds.aws.api.hints import hint_for
from infra.clouds.aws.cloud import CLOUD
from infra.clouds.aws.host_starts import await_ends, wake
from infra.clouds.aws.placing.candidates import out_of_stock
from infra.clouds.host_states import START_S
from infra.clouds.resources.kinds import END_S
from tests.unit.infra.clouds.aws.made import PLACEMENT

BY_HAND = "Client.UserInitiatedShutdown: User initiated shutdown"
NO_STOCK = "Server.InsufficientInstanceCapacity: Insufficient capacity to satisfy instance request"
NO_KEY = "Client.InternalError: Client error on launch"


@dataclass
class Ec2:
    """One host with another state each time that it is listed; the last state stays."""

    states: list[tuple[str, str]]
    started: list[str] = field(default_factory=list)
    now_s: float = 0.0
    name: str = "prod-1"

    def pages(self, _service: str, _region: str, method: str, _key: str, **arguments: Any) -> list[Any]:
        assert method == "describe_instances"
        (wanted,) = (each["Values"] for each in arguments["Filters"] if each["Name"] == "instance-state-name")
        state, reason = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        host: dict[str, Any] = {"InstanceId": "i-1", "State": {"Name": state}, "StateReason": {"Message": reason}}
        host["Tags"] = [{"Key": "llm-deploy:host", "Value": self.name}]
        return [{"Instances": [host] if state in wanted else []}]

    def call(self, _service: str, _region: str, method: str, **arguments: Any) -> None:
        assert method == "start_instances"
        self.started += arguments["InstanceIds"]

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def clock(self) -> float:
        return self.now_s


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch) -> Ec2:
    host = Ec2([])
    monkeypatch.setattr(host_starts, "pages", host.pages)
    monkeypatch.setattr(host_starts, "call", host.call)
    return host


def wake_it(ec2: Ec2) -> list[str]:
    return wake(PLACEMENT, clock=ec2.clock, sleep=ec2.sleep)


@pytest.mark.parametrize(
    ("name", "state", "runs"),
    [
        ("prod-1", "running", True),
        ("prod-gateway-1", "pending", True),
        ("prod-gateway", "running", False),
        ("prod-1", "stopped", False),
    ],
)
def test_a_gateway_alone_does_not_hold_a_spot_stack_in_its_zone(ec2: Ec2, name: str, state: str, runs: bool) -> None:
    ec2.states, ec2.name = [(state, "")], name

    assert CLOUD.runs(PLACEMENT) is runs


def test_a_start_is_done_when_the_host_runs(ec2: Ec2) -> None:
    """An accepted start was taken for a running host. Just after it, AWS may still list the host as stopped."""
    ec2.states = [("stopped", BY_HAND), ("stopped", BY_HAND), ("pending", ""), ("running", "")]

    assert wake_it(ec2) == ec2.started == ["i-1"]
    assert ec2.states == [("running", "")]


@pytest.mark.parametrize(
    "states",
    [
        pytest.param([("pending", ""), ("stopped", NO_STOCK)], id="after it was pending"),
        pytest.param([("stopped", NO_STOCK)], id="between two requests"),
        pytest.param([("pending", ""), ("stopping", NO_STOCK)], id="while it stops"),
        pytest.param([("pending", ""), ("terminated", NO_STOCK)], id="terminated"),
    ],
)
def test_a_start_without_a_machine_reports_the_reason(ec2: Ec2, states: list[tuple[str, str]]) -> None:
    """AWS accepts the start and stops the host again: `up` succeeded, and provision waited for SSH."""
    ec2.states = [("stopped", BY_HAND), *states]

    with pytest.raises(DeployError) as refused:
        wake_it(ec2)

    assert out_of_stock(str(refused.value)) == f"{NO_STOCK} (i-1)", "so that `up` tries the fallbacks"


def test_an_unreadable_disk_does_not_count_as_out_of_stock(ec2: Ec2) -> None:
    ec2.states = [("stopped", BY_HAND), ("pending", ""), ("stopped", NO_KEY)]

    with pytest.raises(DeployError, match=r"Client\.InternalError") as refused:
        wake_it(ec2)

    assert out_of_stock(str(refused.value)) is None
    assert "storage.kms_key" in hint_for(str(refused.value))


@pytest.mark.parametrize(("name", "named"), [("prod-gateway", ("prod-gateway",)), ("prod-1", ())])
def test_a_start_of_the_gateway_that_finds_no_machine_names_it(ec2: Ec2, name: str, named: tuple[str, ...]) -> None:
    """So that `up` tries no fallback of the engines for it."""
    ec2.states, ec2.name = [("stopped", BY_HAND), ("pending", ""), ("stopped", NO_STOCK)], name

    with pytest.raises(DeployError) as refused:
        wake_it(ec2)

    assert refused.value.resources == named


def test_a_start_that_never_ends_is_reported(ec2: Ec2) -> None:
    ec2.states = [("stopped", BY_HAND), ("pending", "")]

    with pytest.raises(DeployError, match=f"i-1: no answer from AWS after {START_S:.0f} s"):
        wake_it(ec2)


@pytest.mark.parametrize(("state", "after"), [("shutting-down", "terminated"), ("stopping", "stopped")])
def test_a_host_that_is_about_to_end_is_waited_for(ec2: Ec2, state: str, after: str) -> None:
    """The plugin took a host terminated in the console just before `up` for a running one, and changed nothing."""
    ec2.states = [(state, BY_HAND), (state, BY_HAND), (after, BY_HAND)]

    await_ends(PLACEMENT, clock=ec2.clock, sleep=ec2.sleep)

    assert ec2.states == [(after, BY_HAND)]


def test_a_host_that_does_not_end_is_named(ec2: Ec2) -> None:
    ec2.states = [("stopping", BY_HAND)]

    with pytest.raises(DeployError, match=f"i-1 is stopping after {END_S:.0f} s"):
        await_ends(PLACEMENT, clock=ec2.clock, sleep=ec2.sleep)
