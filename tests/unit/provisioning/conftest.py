"""Fixtures that several files of tests share.

An engine double behind a real HAProxy; hosts with adapters, played; an old urllib.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from provisioning.adapters.hosts import AdapterHosts, AdapterStack
from provisioning.hosts.target import Target
from tests.adapter_manifests import listed, write_manifest
from tests.doubles.engine import EngineDouble, running_engine
from tests.gateways import RunningGateway, running_gateway
from tests.unit.provisioning.played_hosts import Hosts
from tests.unit.provisioning.records import host_values, stack_values

NewGateway = Callable[..., RunningGateway]


@pytest.fixture
def engine() -> Iterator[EngineDouble]:
    """An engine double."""
    with running_engine() as double:
        yield double


@pytest.fixture
def new_gateway(tmp_path: Path, engine: EngineDouble) -> Iterator[NewGateway]:
    """A factory of one gateway in front of `engine`, with fields of GatewaySpec."""
    with ExitStack() as undo:

        def make(**spec: Any) -> RunningGateway:
            return undo.enter_context(running_gateway(tmp_path, engine, **spec))

        yield make


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hosts:
    """Two hosts of an inventory with a manifest."""
    played = Hosts("one", "two")
    monkeypatch.setattr(AdapterHosts, "ask", lambda _, host, command, *words: played.ask(host, command, *words))
    monkeypatch.setattr(AdapterHosts, "folders", lambda _, __: played.folders())
    monkeypatch.setattr(AdapterStack, "converge", lambda _, **options: played.converge(**options))
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path / "runs"))
    inventory = stack_values(host_values("one"), host_values("two"))
    (tmp_path / "hosts.json").write_text(json.dumps(inventory))
    write_manifest(tmp_path / "adapters" / "test.yaml", listed("contract", 3, "a"), listed("contract", 4, "b"))
    return played


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(inventory=str(tmp_path / "hosts.json"))


@pytest.fixture
def old_urllib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let urllib treat the redirect 308 as it does before Python 3.11: not at all."""
    handler = urllib.request.HTTPRedirectHandler
    follow = handler.redirect_request

    def redirect_request(self: Any, req: Any, fp: Any, code: int, *words: Any) -> Any:
        if code == HTTPStatus.PERMANENT_REDIRECT:
            raise urllib.error.HTTPError(req.full_url, code, "Permanent Redirect", words[1], fp)
        return follow(self, req, fp, code, *words)

    monkeypatch.setattr(handler, "redirect_request", redirect_request)
    monkeypatch.delattr(handler, "http_error_308", raising=False)
