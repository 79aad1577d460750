"""The orphans command: a denied region does not hide the resources of the others."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from core.errors import DeployError
from infra.clouds.resources.kinds import CloudResource, Found, Unasked
from infra.lifecycle.orphans import command

DENIED, OPEN = "eu-south-1", "us-east-1"


def _find_in(place: str) -> Found:
    if place == DENIED:
        raise DeployError("is not allowed", where=f"AWS ec2 in {place}")
    refused = Unasked("bucket", place, DeployError("is not allowed", where="AWS ListBuckets"))
    return Found([CloudResource("network", "vpc-1", place, "prod", "0123abcd")], [refused])


@pytest.fixture
def _cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cloud of two regions, one of which a policy denies."""
    module = ModuleType("a_cloud")
    module.__dict__.update(places=lambda: [DENIED, OPEN], find_in=_find_in)
    monkeypatch.setitem(sys.modules, "a_cloud", module)
    monkeypatch.setattr(command, "ready_cloud", lambda _name: module)
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))


@pytest.mark.usefixtures("_cloud")
def test_a_denied_region_is_reported_and_the_others_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--cloud", "aws"]) == 1

    said = capsys.readouterr()
    assert said.out == "orphan\tnetwork vpc-1 in us-east-1 (stack prod)\n"
    assert "could not be queried: eu-south-1: AWS ec2 in eu-south-1: is not allowed" in said.err
    assert "could not be queried: bucket in us-east-1: AWS ListBuckets: is not allowed" in said.err
    assert said.err.endswith("unless they are a colleague's: make orphans CLOUD=aws ARGS=--delete\n")


@pytest.mark.usefixtures("_cloud")
def test_the_denied_kinds_of_a_region_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ("instance", "volume", "address", "network")
    refused = [Unasked(kind, OPEN, DeployError("is not allowed", where="AWS")) for kind in kinds]
    monkeypatch.setattr(sys.modules["a_cloud"], "find_in", lambda _place: Found([], refused))

    assert command.main(["--cloud", "aws"]) == 1

    line = "  could not be queried: instance, volume, address, network in us-east-1: AWS: is not allowed"
    assert line in capsys.readouterr().err.splitlines()
