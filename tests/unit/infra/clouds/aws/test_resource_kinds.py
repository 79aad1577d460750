"""Removing resources on AWS that take a while."""

from typing import Any

import pytest

from infra.clouds.aws.orphans import resource_kinds
from infra.clouds.aws.orphans.resource_kinds import KINDS
from infra.clouds.resources.kinds import CloudResource, ResourceKind
from infra.clouds.resources.removal import remove_until_gone

ASKED = [kind for kind in KINDS if kind.name in ("spot request", "instance", "bucket", "budget")]


@pytest.mark.parametrize("kind", ASKED, ids=[kind.name for kind in ASKED])
def test_a_slow_removal_is_requested_once_and_waited_for(monkeypatch: pytest.MonkeyPatch, kind: ResourceKind) -> None:
    """The answer to a removal was used as a function that reports its progress."""
    calls: list[str] = []

    def call(_service: str, _region: str, method: str, **_arguments: Any) -> dict[str, Any]:
        calls.append(method)
        return {"ResponseMetadata": {}}

    monkeypatch.setattr(resource_kinds, "call", call)
    resource = CloudResource(kind.name, "one", "us-east-1", "prod", "0123abcd", detail={"AccountId": "123456789012"})
    looks = iter([{resource}, {resource}, set[CloudResource]()])
    removal = ResourceKind(kind.name, kind.find, kind.remove)

    remove_until_gone([resource], [removal], lambda _left: next(looks), sleep=lambda _s: None)

    assert len(calls) == 1
