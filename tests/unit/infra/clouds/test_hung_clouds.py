"""A cloud that accepts connections but never answers: a call ends at the client's timeout or at ours."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import DeployError
from infra.clouds.aws.api import client as aws
from infra.clouds.gcp.api import client as gcp
from infra.clouds.resources.kinds import CloudResource, ResourceKind
from infra.clouds.resources.removal import remove_until_gone
from tests.doubles.gcp.running import endpoints, write_login

PATIENCE_S = 45
"""Enough for a busy machine, which also imports the clients; a call that does not give up takes ten minutes."""

Call = Callable[[], Any]

CALLS = {
    "EC2, one answer": (aws, lambda: aws.call("ec2", "ap-northeast-2", "describe_regions")),
    "EC2, pages": (aws, lambda: aws.pages("ec2", "ap-northeast-2", "describe_vpcs", "Vpcs")),
    "Compute, one answer": (gcp, lambda: gcp.ask("Regions", "get", project="mine", region="us-central1")),
    "Compute, pages": (gcp, lambda: gcp.everywhere("Disks", "mine", "disks")),
    "REST": (gcp, lambda: gcp.rest("storage", "GET", "/storage/v1/b")),
}


@pytest.fixture(autouse=True)
def _silence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Point the clients of both clouds at a server that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url, login = f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path / "login.json"
        write_login(login, url)
        settings = endpoints(url) | {
            "GOOGLE_APPLICATION_CREDENTIALS": str(login),
            "AWS_ENDPOINT_URL_EC2": url,
            "AWS_ACCESS_KEY_ID": "mine",
            "AWS_SECRET_ACCESS_KEY": "mine",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        _forget()
        yield
    _forget()


def _forget() -> None:
    """Make the next call create its clients again."""
    for cached in (aws._client, aws._session, gcp.compute, gcp.credentials, gcp._session, gcp._patience):
        cached.cache_clear()


@pytest.mark.parametrize(("api", "call"), CALLS.values(), ids=CALLS)
def test_a_call_ends_at_the_timeout_of_the_client(monkeypatch: pytest.MonkeyPatch, api: Any, call: Call) -> None:
    monkeypatch.setattr(api, "READ_S", 0.1)
    monkeypatch.setattr(api, "CALL_S", 600)
    begun = time.monotonic()

    with pytest.raises(DeployError, match=r"(?i)timed? ?out"):
        call()

    assert time.monotonic() - begun < PATIENCE_S


@pytest.mark.parametrize(("api", "call"), CALLS.values(), ids=CALLS)
def test_a_call_ends_at_our_timeout_if_the_client_does_not_give_up(
    monkeypatch: pytest.MonkeyPatch, api: Any, call: Call
) -> None:
    monkeypatch.setattr(api, "READ_S", 600)
    monkeypatch.setattr(api, "CALL_S", 0.1)
    begun = time.monotonic()

    with pytest.raises(DeployError, match="no answer within"):
        call()

    assert time.monotonic() - begun < PATIENCE_S


@pytest.mark.parametrize("api", [aws, gcp])
def test_a_call_takes_at_most_twenty_seconds(api: Any) -> None:
    assert api.CALL_S <= 20


def test_resources_whose_removal_hangs_share_one_deadline() -> None:
    """Each removal takes a whole call timeout; the deadline applies to all of them together."""
    now = [0.0]

    def hang(_resource: CloudResource) -> None:
        now[0] += 20
        raise DeployError("no answer within 20 s")

    resources = [CloudResource("disk", f"disk-{number}", "here", "prod", "0123abcd") for number in range(30)]
    kinds = [ResourceKind("disk", lambda _place, _placement: iter(resources), hang)]

    with pytest.raises(DeployError, match="resources still exist after 60 s") as raised:
        remove_until_gone(resources, kinds, set, deadline_s=60, clock=lambda: now[0], sleep=lambda _s: None)

    assert now[0] == 60
    assert raised.value.detail.count("no answer within 20 s") == 3
    assert raised.value.detail.count("not requested: no time was left") == 27
