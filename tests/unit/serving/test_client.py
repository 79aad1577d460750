"""LLMClient against a server that answers what each test wrote. The gateway's own answers: test_sdks.py."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

import serving.clients
from core.paths import CHECKOUT
from serving.client import BrokenOffError, LLMClient, LLMError, LLMSettingsError, Retries, Settings
from tests.doubles.scripted_http import Scripted, ScriptedServer, scripted_server

KEY = "sk-test-key-that-nobody-may-print"
SETTINGS = yaml.safe_load((Path(__file__).parent / "cases/client_settings.yaml").read_text(encoding="utf-8"))

USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
CHAT = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "m-2026-01-01",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "A contract."}}],
    "usage": USAGE,
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m-2026-01-01",
    "content": [{"type": "text", "text": "A contract."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 12, "output_tokens": 5},
}


def piece(text: str | None, finish: str | None = None) -> dict[str, Any]:
    """Return an event of OpenAI's stream."""
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


OPENAI_EVENTS = [
    piece("A "),
    piece("contract."),
    piece(None, "stop"),
    {**piece(None), "choices": [], "usage": USAGE},
    "[DONE]",
]
CLAUDE_EVENTS = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "A "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "contract."}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 5},
    },
    {"type": "message_stop"},
]
BUSY = {"error": {"message": "Too many requests are waiting.", "type": "rate_limit_error", "code": "queue_full"}}
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


@pytest.fixture
def new_client(server: ScriptedServer) -> Iterator[Callable[..., LLMClient]]:
    """Return a maker of clients of the server; each has a `waited` list in place of sleeping."""
    made: list[LLMClient] = []

    def make(provider: str, *, waited: list[float] | None = None, model: str = "m", **options: Any) -> LLMClient:
        url = server.url if provider == "claude" else f"{server.url}/v1"
        settings = Settings(provider=provider, model=model, url=url, key=KEY)
        retries = Retries(jitter=lambda: 1.0, sleep=(waited if waited is not None else []).append)
        made.append(LLMClient(settings, **{"retries": retries, **options}))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.mark.parametrize("provider", ["openai", "ollama", "vllm", "gateway"])
def test_chat_in_openais_form(provider: str, server: ScriptedServer, new_client: Callable[..., LLMClient]) -> None:
    server.answers = [Scripted(body=CHAT, headers={"X-Served-By": "overflow/a", "X-Degraded": "length"})]
    answer = new_client(provider, system="Be short.").chat("What?", max_tokens=9, temperature=0.5, request_id="r-1")

    (sent,) = server.requests
    assert (sent.method, sent.path) == ("POST", "/v1/chat/completions")
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["x-client-request-id" if provider == "openai" else "x-request-id"] == "r-1"
    assert sent.headers.get("idempotency-key") == ("r-1" if provider == "openai" else None)
    assert sent.body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "What?"}],
        "max_completion_tokens" if provider == "openai" else "max_tokens": 9,
        "temperature": 0.5,
    }
    assert (answer.text, answer.model, answer.request_id) == ("A contract.", "m-2026-01-01", "r-1")
    assert (answer.input_tokens, answer.output_tokens, answer.cost_usd) == (12, 5, None)
    assert (answer.finish_reason, answer.served_by, answer.degraded) == ("stop", "overflow/a", "length")


def test_chat_in_claudes_form(server: ScriptedServer, new_client: Callable[..., LLMClient]) -> None:
    server.answers = [Scripted(body=MESSAGE)]
    answer = new_client("claude", system="Be short.").chat(
        [{"role": "user", "content": "What?"}], temperature=0.5, request_id="r-1"
    )

    (sent,) = server.requests
    assert (sent.method, sent.path) == ("POST", "/v1/messages")
    assert (sent.headers["authorization"], sent.headers["idempotency-key"]) == (f"Bearer {KEY}", "r-1")
    assert sent.body == {
        "model": "m",
        "max_tokens": 4096,
        "system": "Be short.",
        "temperature": 0.5,
        "messages": [{"role": "user", "content": "What?"}],
    }
    assert (answer.text, answer.input_tokens, answer.output_tokens) == ("A contract.", 12, 5)
    assert (answer.finish_reason, answer.cost_usd) == ("end_turn", None)


@pytest.mark.parametrize(
    ("provider", "stream"),
    [
        ("gateway", Scripted(events=OPENAI_EVENTS)),
        ("openai", Scripted(events=OPENAI_EVENTS)),
        ("claude", Scripted(events=CLAUDE_EVENTS, named=True)),
    ],
)
def test_stream(provider: str, stream: Scripted, server: ScriptedServer, new_client: Callable[..., LLMClient]) -> None:
    server.answers = [stream]
    streamed = new_client(provider).stream("What?")
    with pytest.raises(LLMError, match="the stream has not ended"):
        _ = streamed.answer

    assert list(streamed) == ["A ", "contract."]
    assert (streamed.answer.text, streamed.answer.input_tokens, streamed.answer.output_tokens) == ("A contract.", 12, 5)
    if provider != "claude":
        assert server.requests[0].body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("provider", "model", "usage", "cost"),
    [
        ("claude", "claude-sonnet-5-5", {}, (12 * 2 + 5 * 10) / 1e6),
        ("claude", "claude-sonnet-5-5", {"cache_read_input_tokens": 8}, (12 * 2 + 8 * 0.2 + 5 * 10) / 1e6),
        ("claude", "claude-sonnet-5-5", {"cache_creation_input_tokens": 8}, None),
        ("claude", "claude-from-the-future", {}, None),
        ("openai", "gpt-5.4-mini", {}, (12 * 0.75 + 5 * 4.5) / 1e6),
        (
            "openai",
            "gpt-5.4-mini",
            {"prompt_tokens_details": {"cached_tokens": 8}},
            (4 * 0.75 + 8 * 0.075 + 5 * 4.5) / 1e6,
        ),
        ("openai", "gpt-5.4-mini", {"prompt_tokens": 272_001}, None),
        ("openai", "gpt-5.4-mini", None, None),
        ("gateway", "gpt-5.4-mini", {}, None),
    ],
)
def test_cost_is_known_or_none_and_never_0(
    provider: str,
    model: str,
    usage: dict[str, Any] | None,
    cost: float | None,
    *,
    server: ScriptedServer,
    new_client: Callable[..., LLMClient],
) -> None:
    reply: dict[str, Any] = MESSAGE if provider == "claude" else CHAT
    server.answers = [Scripted(body={**reply, "usage": None if usage is None else {**reply["usage"], **usage}})]
    answer = new_client(provider, model=model).chat("What?")
    assert answer.cost_usd == (None if cost is None else pytest.approx(cost))


def test_a_price_of_ones_own(server: ScriptedServer, new_client: Callable[..., LLMClient]) -> None:
    server.answers = [Scripted(body=CHAT)]
    client = new_client("vllm", cost_of=lambda *asked: float(asked[2] + asked[4]))
    assert client.chat("What?").cost_usd == 17


FULL = "HTTP 429 queue_full: Too many requests are waiting."
OK, OK_CLAUDE, BROKEN = Scripted(body=CHAT), Scripted(body=MESSAGE), Scripted(status=503, body={})


def refused(status: int, body: Any = BUSY, **headers: str) -> Scripted:
    """Return an error; `_` in a header's name stands for `-`."""
    return Scripted(status=status, body=body, headers={name.replace("_", "-"): text for name, text in headers.items()})


def failed(status: int, code: str, message: str) -> Scripted:
    """Return an error in OpenAI's form."""
    return refused(status, {"error": {"message": message, "type": "t", "param": None, "code": code}})


@pytest.mark.parametrize(
    ("provider", "answers", "waited", "error"),
    [
        # A jitter of 1 is the longest wait: a quarter beyond Retry-After, or the whole of a doubling time.
        ("gateway", [refused(429, Retry_After="10"), OK], [12.5], ""),
        ("gateway", [BROKEN, refused(502), OK], [0.5, 1], ""),
        ("claude", [refused(529, OVERLOADED, Retry_After="2"), OK_CLAUDE], [2.5], ""),
        ("gateway", [refused(429, Retry_After="Thu, 01 Jan 1970 00:00:00 GMT"), OK], [0], ""),
        ("gateway", [refused(429, Retry_After="soon"), OK], [0.5], ""),
        ("gateway", [refused(429)] * 3, [0.5, 1], FULL),
        ("gateway", [refused(429, Retry_After="61")], [], f"{FULL}; retry in 61 s"),
        ("claude", [refused(429, OVERLOADED, Retry_After="99999")], [], "Overloaded; retry in 99999 s"),
        ("gateway", [failed(400, "c", "no")], [], "HTTP 400 c: no"),
        ("gateway", [failed(401, "invalid_api_key", "Incorrect API key.")], [], "HTTP 401 invalid_api_key: Incorrect"),
        ("gateway", [failed(404, "model_not_found", "no")], [], "HTTP 404 model_not_found: no"),
        ("gateway", [refused(403, "<html>\nno</html>")], [], "HTTP 403: "),
        ("openai", [refused(500, x_should_retry="false")], [], "HTTP 500 queue_full"),
    ],
)
def test_retries(
    provider: str,
    answers: list[Scripted],
    waited: list[float],
    error: str,
    *,
    server: ScriptedServer,
    new_client: Callable[..., LLMClient],
) -> None:
    server.answers = list(answers)
    slept: list[float] = []
    client = new_client(provider, waited=slept)
    if error:
        with pytest.raises(LLMError) as raised:
            client.chat("What?")
        said = str(raised.value)
        assert error in said
        assert said.startswith(f"{provider} at {client.settings.url}: ")
        assert KEY not in said
        assert "\n" not in said
    else:
        assert client.chat("What?").text == "A contract."
    assert slept == waited
    assert server.answers == []
    ids = {sent.headers.get("x-request-id") or sent.headers["idempotency-key"] for sent in server.requests}
    assert len(ids) == 1, "each retry has the id of the first try"


def test_a_wait_is_never_shorter_than_retry_after() -> None:
    error = LLMError("busy", retry=True)
    error.retry_after_s = 4.0
    waits = [Retries(jitter=lambda part=part: part).wait_s(error, 0) for part in (0.0, 0.5, 0.999)]  # type: ignore[misc]
    assert waits == [4.0, 4.5, pytest.approx(5.0, abs=0.01)]


@pytest.mark.parametrize(
    ("provider", "stream", "said"),
    [
        ("gateway", Scripted(events=OPENAI_EVENTS[:1], cut=True), "the answer broke off ("),
        ("gateway", Scripted(events=[OPENAI_EVENTS[0], "[DONE]"]), "ended without a finish reason"),
        ("gateway", Scripted(events=[OPENAI_EVENTS[0], "{"]), "Expecting property name"),
        ("gateway", Scripted(events=[OPENAI_EVENTS[0], {"error": {"message": "engine died"}}]), "engine died"),
        ("claude", Scripted(events=CLAUDE_EVENTS[:3], named=True, cut=True), "the answer broke off ("),
        ("claude", Scripted(events=CLAUDE_EVENTS[:3], named=True), "ended without a finish reason"),
        ("claude", Scripted(events=[*CLAUDE_EVENTS[:3], OVERLOADED], named=True), "Overloaded"),
    ],
)
def test_a_stream_that_broke_off_is_an_error_and_not_repeated(
    provider: str, stream: Scripted, said: str, server: ScriptedServer, new_client: Callable[..., LLMClient]
) -> None:
    server.answers = [stream]
    pieces = iter(new_client(provider).stream("What?"))
    assert next(pieces) == "A "
    with pytest.raises(BrokenOffError, match="the answer broke off") as raised:
        next(pieces)
    assert said in str(raised.value)
    assert (raised.value.text, raised.value.retry) == ("A ", False)
    assert len(server.requests) == 1


def test_a_refused_stream_is_retried_before_it_begins(
    server: ScriptedServer, new_client: Callable[..., LLMClient]
) -> None:
    server.answers = [Scripted(status=503, body={}), Scripted(events=OPENAI_EVENTS)]
    assert "".join(new_client("gateway").stream("What?")) == "A contract."


def test_a_refused_connection_is_retried() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
        slept: list[float] = []
        settings = Settings(provider="vllm", model="m", url=closed, key="")
        client = LLMClient(settings, retries=Retries(sleep=slept.append))
        with pytest.raises(LLMError, match=r"no answer \(.*refused\)"):
            client.chat("What?")
        client.close()
    assert len(slept) == 2


def test_a_silent_endpoint_is_not_asked_twice(server: ScriptedServer, new_client: Callable[..., LLMClient]) -> None:
    """It may still compute the first answer."""
    server.answers = [Scripted(silent=True)]
    with pytest.raises(LLMError, match=r"no answer \(timed out\)"):
        new_client("gateway", timeout_s=0.2).chat("What?")
    assert len(server.requests) == 1


def test_leaving_a_stream_hangs_up(server: ScriptedServer, new_client: Callable[..., LLMClient]) -> None:
    server.answers = [Scripted(events=OPENAI_EVENTS), Scripted(body=CHAT)]
    client = new_client("gateway")
    with client.stream("What?") as streamed:
        assert next(iter(streamed)) == "A "
    assert client.chat("What?").text == "A contract."


def test_the_system_prompt_comes_from_a_file(
    tmp_path: Path, server: ScriptedServer, new_client: Callable[..., LLMClient]
) -> None:
    skill = tmp_path / "SKILL.md"
    skill.write_bytes("\ufeff너는 계약 도우미다.\n".encode())
    server.answers = [Scripted(body=CHAT)]
    new_client("ollama", system=skill).chat("What?")
    assert server.requests[0].body["messages"][0] == {"role": "system", "content": "너는 계약 도우미다.\n"}

    for wrong, reason in ((tmp_path / "none.md", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(LLMSettingsError, match=f"cannot be read .{reason}"):
            new_client("ollama", system=wrong)


@pytest.mark.parametrize(
    ("provider", "hidden"), [("claude", True), ("openai", True), ("vllm", False), ("gateway", False)]
)
def test_masking_changes_what_leaves_and_nothing_else(
    provider: str,
    hidden: bool,
    server: ScriptedServer,
    new_client: Callable[..., LLMClient],
) -> None:
    def mask(text: str) -> str:
        return text.replace("Kim", "[NAME]")

    server.answers = [Scripted(body=MESSAGE if provider == "claude" else CHAT)]
    parts = [{"type": "text", "text": "and Kim"}, {"type": "image_url", "image_url": {"url": "https://a/b.png"}}]
    new_client(provider, mask=mask, system="Kim asks.").chat(
        [{"role": "user", "content": "I am Kim."}, {"role": "user", "content": parts}]
    )
    sent = json.dumps(server.requests[0].body)
    assert ("Kim" in sent, sent.count("[NAME]")) == ((False, 3) if hidden else (True, 0))
    assert "https://a/b.png" in sent


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a state folder with one provisioned stack."""
    folder = tmp_path / "state/stacks/mine"
    folder.mkdir(parents=True)
    endpoint = {
        "url": "https://192.0.2.7",
        "ca": "/ca.pem",
        "models": ["base", "contract"],
        "keys_file": f"{folder}/keys.json",
        "client": "app",
    }
    (folder / "endpoint.json").write_text(json.dumps(endpoint))
    (folder / "keys.json").write_text(json.dumps({"app": "key-of-app", "batch": "key-of-batch"}))
    up = tmp_path / "state/stacks/new"  # without a provision
    up.mkdir()
    (up / "outputs.json").write_text("{}")
    return tmp_path / "state"


@pytest.mark.parametrize("case", SETTINGS, ids=lambda case: case["case"])
def test_settings_from_the_environment(case: dict[str, Any], state: Path) -> None:
    env = {name: value.replace("STATE", str(state)) for name, value in case["env"].items()}
    if "error" in case:
        with pytest.raises(LLMSettingsError) as raised:
            Settings.from_env(env=env)
        assert str(raised.value) == case["error"].replace("STATE", str(state))
        return
    found = asdict(Settings.from_env(env=env))
    found["ca"] = str(found["ca"]) if found["ca"] else None
    assert found == {"ca": None, **case["settings"]}


def test_no_text_of_settings_shows_the_key() -> None:
    assert KEY not in repr(Settings(provider="vllm", model="m", url="http://x/v1", key=KEY))


def test_a_copy_in_an_application_needs_the_sdks_only(tmp_path: Path, server: ScriptedServer) -> None:
    """docs/clients.md says which files to copy."""
    shutil.copytree(Path(serving.clients.__file__).parent, tmp_path / "serving/clients")
    for name in ("client.py", "masking.py"):
        shutil.copy(CHECKOUT / "serving" / name, tmp_path / "serving")
    program = """
import sys
from serving.client import LLMClient
from serving.masking import mask
assert "openai" not in sys.modules
answer = LLMClient.from_env(mask=mask).chat("My mail is a@example.com")
ours = {name.partition(".")[0] for name in sys.modules} & {"core", "catalog", "infra", "provisioning"}
print(answer.text, answer.cost_usd, sorted(ours))
"""
    env = {
        "PATH": "/usr/bin",
        "LLM_PROVIDER": "openai",
        "OPENAI_API_KEY": KEY,
        "OPENAI_MODEL": "gpt-5.4-mini",
        "OPENAI_BASE_URL": f"{server.url}/v1",
    }
    # Only the packages, not this checkout, which is installed in development mode by a .pth file.
    paths = [str(tmp_path), *(path for path in sys.path if path.endswith("site-packages"))]
    server.answers = [Scripted(body=CHAT)]
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path += {paths}\n{program}"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("A contract. None []\n", "")
    assert server.requests[0].body["messages"][0]["content"] == "My mail is [EMAIL]"
