"""The provider of the pool's demo: what the copy of the outputs says, and the double that answers."""

import http.client
import json
import socket
import ssl
from collections import Counter
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest

from core.errors import DeployError, UsageError
from core.paths import outputs_file
from infra.contract.outputs import StackOutputs
from provisioning.roles.services.overflow import settings_of
from tests.gateways import ADDRESS, free_port
from tests.unit.provisioning.records import host_values, stack_values
from tools import pool_overflow
from tools.pool_client import Api
from tools.provider_double import ProviderDouble, running_double, self_signed

STACK, GATEWAY = "spare", "spare-gateway"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """The commands for hosts, which are played; outputs of a pool are there."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    commands: list[tuple[str, ...]] = []

    def fab(*words: str) -> str:
        commands.append(words)
        return "default via 10.213.0.1 dev host0"

    monkeypatch.setattr(pool_overflow, "fab", fab)
    values = stack_values(
        host_values("spare-1"), host_values(GATEWAY, address="203.0.113.8"), stack=STACK, gateway_host=GATEWAY
    )
    outputs_file(STACK).parent.mkdir(parents=True)
    outputs_file(STACK).write_text(StackOutputs.model_validate(values).model_dump_json())
    return commands


def test_the_copy_has_a_provider_with_a_cap_and_the_stacks_own_outputs_have_none(
    commands: list[tuple[str, ...]],
) -> None:
    before = outputs_file(STACK).read_text()
    assert pool_overflow.add_provider(STACK) == 0
    copy = pool_overflow.copy_with_provider(STACK)
    outputs = StackOutputs.model_validate_json(copy.read_text())
    assert outputs_file(STACK).read_text() == before
    (provider,) = settings_of(outputs, "/var/lib/llm").providers
    assert (provider.url, provider.cap.day) == ("https://provider.test/v1", 3_000_000)
    assert settings_of(outputs, "/var/lib/llm").clients == ("website",)
    assert {client.name: client.data for client in outputs.gateway.clients} == {
        "default": "sensitive",
        "website": "public",
    }
    assert copy.with_name("key").stat().st_mode & 0o077 == 0
    assert copy.with_name("server.pem").stat().st_mode & 0o077 == 0
    assert "10.213.0.1 provider.test" in commands[-1][-1]
    assert commands[-1][:4] == (STACK, "ssh", "--host", GATEWAY)


def test_the_answers_that_the_demo_waits_for_take_four_fifths_of_the_cap() -> None:
    answer = pool_overflow.ANSWER_TOKENS * pool_overflow.OUTPUT_USD / 1e6
    assert 0.8 <= pool_overflow.ANSWERS_AT_LEAST * answer / pool_overflow.CAP_USD <= 1


def test_the_copy_brings_the_manifest_of_adapters(
    commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`provision` looks for it beside the outputs, and would remove the adapters that only a manifest names."""
    stacks = tmp_path / "checkout"
    (stacks / "adapters").mkdir(parents=True)
    (stacks / "adapters" / f"{STACK}.yaml").write_text("adapters: []")
    monkeypatch.setattr(pool_overflow, "STACKS_DIR", stacks)
    pool_overflow.add_provider(STACK)
    assert (pool_overflow.copy_with_provider(STACK).parent / "adapters" / f"{STACK}.yaml").exists()
    assert commands


def test_the_double_answers_who_has_the_key_and_keeps_what_it_got(tmp_path: Path) -> None:
    certificate, private = self_signed("provider.test")
    (tmp_path / "server.pem").write_text(certificate + private)
    trust, port = ssl.create_default_context(cadata=certificate), free_port()
    body = {"model": "large", "max_tokens": 8, "messages": [{"role": "user", "content": "one two"}]}

    def ask(key: str, **more: Any) -> tuple[int, bytes]:
        plain = socket.create_connection((ADDRESS, port))
        with closing(http.client.HTTPConnection(ADDRESS)) as connection:
            connection.sock = trust.wrap_socket(plain, server_hostname="provider.test")
            headers = {"Authorization": f"Bearer {key}"}
            connection.request("POST", "/v1/chat/completions", json.dumps({**body, **more}), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    with running_double(ADDRESS, port, tmp_path / "server.pem", "its-key") as double:
        status, answer = ask("its-key")
        assert (status, json.loads(answer)["usage"]) == (
            200,
            {"prompt_tokens": 2, "completion_tokens": 8, "total_tokens": 10},
        )
        assert len(json.loads(answer)["choices"][0]["message"]["content"].split()) == 8
        status, answer = ask("its-key", stream=True)
        assert (status, answer.endswith(b"data: [DONE]\n\n")) == (200, True)
        assert ask("another")[0] == 401
        assert [json.loads(each)["model"] for each in double.received] == ["large"] * 3


def test_a_stack_without_machines_gets_no_provider_and_no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    with pytest.raises(UsageError, match="stack nope: has no machines; run `make up STACK=nope`"):
        pool_overflow.add_provider("nope")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", [pool_overflow.PUBLIC_TEXT, pool_overflow.SENSITIVE_TEXT])
def test_to_try_overflow_fails_if_anything_but_public_data_left(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = ProviderDouble("its-key", received=[text.encode()])
    answers = Counter({pool_overflow.FROM_PROVIDER: pool_overflow.ANSWERS_AT_LEAST})
    trust = ssl.create_default_context()
    asker = pool_overflow.Asker(Api("https://gateway.test", "small", "key", trust), text, {}, answers)
    overflow = pool_overflow.Overflow(STACK, provider, [asker], [])
    monkeypatch.setattr(pool_overflow, "overflowing", lambda _: nullcontext(overflow))
    if text == pool_overflow.PUBLIC_TEXT:
        assert pool_overflow.try_overflow(STACK) == 0
    else:
        with pytest.raises(DeployError, match="data left that had to stay"):
            pool_overflow.try_overflow(STACK)
