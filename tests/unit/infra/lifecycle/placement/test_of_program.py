"""How the program chooses a cloud stack's placement under plain Pulumi: its sources and their order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pulumi
import pytest
from pulumi.runtime.proto.provider_pb2 import InvokeResponse

from core.errors import DeployError
from infra.clouds.candidates import Candidate
from infra.clouds.resources.kinds import CloudResource, Found
from infra.config import DeploymentConfig, load_stack
from infra.contract.stack_placement import (
    PLACEMENT_VARIABLE,
    KnownPlacement,
    Placement,
    Progress,
    read_placement,
    write_placement,
)
from infra.lifecycle.placement import of_program as module
from infra.lifecycle.placement.of_program import OwnState, own_placement, own_state

STACK = "aws-cpu"
ZONES = ("a", "b", "c", "d")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
VPC = {"urn:vpc": {"type": "aws:ec2/vpc:Vpc", "outputs": {"id": "vpc-1"}}}
HOST = {"urn:host": {"type": "aws:ec2/instance:Instance", "outputs": {"id": "i-1"}}}
NOTHING_MADE: Mapping[str, Any] = {
    "urn:stack": {"type": "pulumi:pulumi:Stack", "outputs": {}},
    "urn:provider": {"type": "pulumi:providers:aws", "outputs": {"region": "x"}},
    "urn:network": {"type": "llm-deploy:aws:Network", "outputs": {}},
}


def placement(zone: str, **values: Any) -> KnownPlacement:
    common = {
        "id": "0123abcd",
        "region": "ap-northeast-2",
        "began_at": LONG_AGO,
        "image_name": "ubuntu",
        "image": "ami-1",
        "machine_type": "m6i.2xlarge",
        "zones": ZONES,
    }
    return KnownPlacement.model_validate(common | {"zone": zone} | values)


@dataclass
class Cloud:
    """A cloud that puts a stack where it was before, else in zone `a`."""

    resources_left: list[CloudResource] = field(default_factory=list)
    previous: list[KnownPlacement | None] = field(default_factory=list)

    def candidates(self, _config: DeploymentConfig, previous: KnownPlacement | None) -> list[Candidate]:
        self.previous.append(previous)
        here = previous or placement("a", id="ffffffff", began_at=datetime.now(UTC))
        zones = [here.zone, *(zone for zone in ZONES if zone != here.zone)]
        return [Candidate(here.model_copy(update={"zone": zone, "progress": None})) for zone in zones]

    def refuse_other_login(self, _placement: Placement) -> None:
        pass

    def resources(self, _placement: Placement) -> Found:
        return Found(self.resources_left)


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that the program prints through Pulumi."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    monkeypatch.delenv(PLACEMENT_VARIABLE, raising=False)
    lines: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", lines.append)
    return lines


@pytest.fixture
def cloud(printed: list[str], monkeypatch: pytest.MonkeyPatch) -> Cloud:  # noqa: ARG001  # it sets the state folder
    cloud = Cloud()
    monkeypatch.setattr(module, "ready_cloud", lambda _name: cloud)
    return cloud


def placed(
    monkeypatch: pytest.MonkeyPatch, *, exported: KnownPlacement | None = None, made: Mapping[str, Any] = HOST
) -> KnownPlacement:
    outputs = {} if exported is None else {"placement": exported.placement.model_dump(mode="json")}
    monkeypatch.setattr(module, "own_state", lambda _stack: OwnState(outputs, made))
    return own_placement(load_stack(STACK), STACK)


SOURCES = ["environment", "outputs", "note"]


@pytest.mark.parametrize("first", [0, 1, 2, 3], ids=[*SOURCES, "its own choice"])
def test_the_first_source_with_a_placement_is_used(first: int, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sources from `first` on have a placement, each in another zone."""
    has = [place >= first for place in range(3)]
    if has[0]:
        monkeypatch.setenv(PLACEMENT_VARIABLE, placement("b").model_dump_json())
    if has[2]:
        write_placement(STACK, placement("d"))

    found = placed(monkeypatch, exported=placement("c") if has[1] else None)

    assert found.zone == ["b", "c", "d", "a"][first]
    assert found.is_complete
    assert bool(cloud.previous) is not has[0], "a placement in the environment needs no cloud"


def test_the_update_of_a_new_stack_uses_the_placement_of_its_preview(
    cloud: Cloud, printed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    previewed = placed(monkeypatch, made={})
    noted = read_placement(STACK)
    assert noted is not None
    assert not noted.is_complete
    monkeypatch.setattr(cloud, "candidates", lambda _config, previous: Cloud().candidates(_config, previous))

    updated = placed(monkeypatch, made=NOTHING_MADE)

    assert (updated.id, updated.zone) == (previewed.id, previewed.zone)
    assert printed[0] == (
        f"placement: m6i.2xlarge in a; if it has no capacity, `make up STACK={STACK}` tries the next place"
    )


def test_a_lifetime_begins_with_the_update_and_not_with_the_preview(
    cloud: Cloud,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_placement(STACK, placement("b", progress=Progress()))

    assert datetime.now(UTC) - placed(monkeypatch, made=NOTHING_MADE).began_at < timedelta(minutes=1)
    write_placement(STACK, placement("b", progress=Progress()))
    assert placed(monkeypatch, made=VPC).began_at == LONG_AGO, "the lifetime of existing resources has already begun"


def test_an_existing_stack_stays_in_its_place_without_a_message(
    cloud: Cloud, printed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_placement(STACK, placement("d"))

    assert placed(monkeypatch, exported=placement("c")).zone == "c"

    assert printed == []
    noted = read_placement(STACK)
    assert noted is not None
    assert (noted.zone, noted.is_complete) == ("c", True)
    assert [each and each.zone for each in cloud.previous] == ["c"]


def test_the_program_never_marks_volumes_as_blank(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    write_placement(STACK, placement("b", progress=Progress(blank_at="2026-11-21T12:00:00Z")))

    assert placed(monkeypatch, made=VPC).blank_at == ""


def test_the_program_refuses_a_lost_state(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.resources_left = [CloudResource("instance", "i-1", "ap-northeast-2", STACK, "0123abcd")]
    write_placement(STACK, placement("b"))

    with pytest.raises(DeployError, match=r"is empty, but the cloud has 1 resource\(s\) of it"):
        placed(monkeypatch, made={})


def test_a_destroyed_stack_gets_a_new_lifetime(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note remains after `pulumi destroy`, but the cloud has no resources of the stack."""
    write_placement(STACK, placement("b"))

    found = placed(monkeypatch, made={})

    assert cloud.previous[0] is not None
    assert not cloud.previous[0].is_complete
    assert datetime.now(UTC) - found.began_at < timedelta(minutes=1)


class Monitor:
    """An engine whose first reads of the state fail."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def Invoke(self, request: Any) -> Any:  # noqa: N802  # as gRPC names it
        if self.failures:
            self.failures -= 1
            raise grpc.RpcError("failed to load checkpoint: EOF")
        answer = InvokeResponse()
        if request.tok.endswith("readStackOutputs"):
            assert dict(request.args) == {"name": "acme/llm-deploy/aws-cpu"}
            getattr(answer, "return").update({"outputs": {"stack": "aws-cpu"}})
        return answer


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> Monitor:
    monitor = Monitor(0)
    monkeypatch.setattr(pulumi, "get_organization", lambda: "acme")
    monkeypatch.setattr(module, "get_monitor", lambda: monitor)
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    return monitor


def test_a_half_written_state_is_read_again(monitor: Monitor) -> None:
    """On a busy machine, about one update in five read a state that was half written."""
    monitor.failures = 3

    assert own_state(STACK) == OwnState({"stack": "aws-cpu"}, {})


def test_an_unreadable_state_is_reported_with_the_command_to_run(
    printed: list[str], monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor.failures = 1 << 60
    monkeypatch.setattr(module, "ASK_S", 0.0)

    with pytest.raises(DeployError, match=r"state of stack acme/llm-deploy/aws-cpu: .*checkpoint: EOF.*`make up`"):
        own_placement(load_stack(STACK), STACK)
    assert printed == []
