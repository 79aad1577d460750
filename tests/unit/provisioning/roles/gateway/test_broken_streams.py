"""What each client gets when a stream ends early: no client takes half an answer for the whole. On a real HAProxy.

docs/gateway.md has this table. HAProxy adds no error event to a stream that has begun (decision 20 says why): vLLM does
while its API server lives.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from serving.client import BrokenOffError
from tests.doors import pool_of, running_door
from tests.doubles.engine import running_engine
from tests.gateways import CLIENT_KEY, RunningGateway, gateway_before, gateway_spec, running_gateway, vllm_serving
from tests.unit.provisioning.roles.gateway.test_sdks import HELLO, Clients

OPENAI = "openai.APIConnectionError"
LANGCHAIN = "langchain_openai.chat_models.base.OpenAIConnectionError"
ANTHROPIC = "httpx2.RemoteProtocolError"
OURS = "serving.clients.answer.BrokenOffError"
CUT = {
    "openai": OPENAI,
    "responses": OPENAI,
    "langchain": LANGCHAIN,
    "anthropic": ANTHROPIC,
    "ours": OURS,
    "curl": "18",
}
SAID = {
    "openai": "openai.APIError",
    "responses": "no error",
    "langchain": "openai.APIError",
    "anthropic": "anthropic.APIStatusError",
    "ours": OURS,
    "curl": "0",
}
"""What each raises, or curl's exit status. The last event of OpenAI's responses is of type `error` then."""


def kill(running: RunningGateway) -> None:
    """End the process that has the connections, as the kernel does when memory is short."""
    os.kill(int(running.worker()), signal.SIGKILL)


def openings(clients: Clients) -> dict[str, Callable[[], Any]]:
    """Return how each client but curl begins a stream."""
    asked: dict[str, Any] = {"model": "tiny", "stream": True}
    return {
        "openai": lambda: clients.openai().chat.completions.create(messages=HELLO, **asked),
        "responses": lambda: clients.openai().responses.create(input="Hello", **asked),
        "langchain": lambda: clients.langchain().stream("Hello"),
        "anthropic": lambda: clients.anthropic().messages.create(messages=HELLO, max_tokens=9, **asked),
        "ours": lambda: clients.ours().stream("Hello"),
    }


def curl(gateway: RunningGateway) -> "subprocess.Popen[bytes]":
    """Begin a stream with curl."""
    body = json.dumps({"model": "tiny", "stream": True, "messages": HELLO})
    key = f"Authorization: Bearer {CLIENT_KEY}"
    options = ("--silent", "--no-buffer", "--noproxy", "*", "--cacert", str(gateway.ca), "--header", key)
    url = f"{gateway.url}/v1/chat/completions"
    return subprocess.Popen(["curl", *options, "--data", body, url], stdout=subprocess.PIPE)


def ends(gateway: RunningGateway, clients: Clients, finish: Callable[[], object]) -> dict[str, str]:
    """Begin a stream with each client, read its first piece, call `finish`, and return how each stream ended."""
    begun: dict[str, Any] = {name: iter(begin()) for name, begin in openings(clients).items()}
    seen: dict[str, str] = {}
    for pieces in begun.values():
        assert next(pieces)
    with curl(gateway) as process:
        assert process.stdout
        assert b"one" in process.stdout.readline()
        finish()
        for name, pieces in begun.items():
            try:
                rest = list(pieces)
            except Exception as error:
                seen[name] = f"{type(error).__module__}.{type(error).__name__}".replace("._exceptions.", ".")
                text = error.text if isinstance(error, BrokenOffError) else "one "
                seen[name] += "" if text == "one " else f" after {text!r}"
            else:
                assert rest[-1].type == "error"
                seen[name] = "no error"
        process.stdout.read()
    return {**seen, "curl": str(process.returncode)}


ENDS: dict[str, tuple[set[str], dict[str, Any], dict[str, str]]] = {
    "the engine is killed": ({"stream_cut"}, {}, CUT),
    "the engine's host is silent": ({"stream_stalls"}, {"request_timeout_s": 2}, CUT),
    "the gateway is killed": ({"stream_stalls"}, {}, CUT),
    "the engine's core is killed": ({"stream_error"}, {}, SAID),
}


@pytest.mark.parametrize("how", ENDS)
def test_no_client_takes_half_an_answer_for_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    faults, spec, expected = ENDS[how]
    with running_engine() as engine:
        engine.faults |= faults
        with running_gateway(tmp_path, engine, **spec) as gateway, closing(Clients(gateway, monkeypatch)) as clients:
            finish = (lambda: kill(gateway)) if how == "the gateway is killed" else (lambda: None)
            assert ends(gateway, clients, finish) == expected


def test_a_door_that_is_killed_looks_like_an_engine_that_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as undo:
        engine, spec = undo.enter_context(running_engine()), gateway_spec(max_concurrency=len(CUT))
        engine.faults.add("stream_stalls")
        serving, ca = vllm_serving(engine.port), tmp_path / "ca"
        for name in ("door", "gateway"):
            (tmp_path / name).mkdir()
        door = undo.enter_context(running_door(tmp_path / "door", ca, serving, spec, name="gpu-1"))
        before = gateway_before(tmp_path / "gateway", [pool_of([door], serving)], spec, door_ca=ca / "ca.pem")
        gateway = undo.enter_context(before)
        clients = undo.enter_context(closing(Clients(gateway, monkeypatch)))
        assert ends(gateway, clients, lambda: kill(door.running)) == CUT
