"""The real service in a process of its own, in front of doubles of providers."""

import http.client
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.paths import CHECKOUT
from services.overflow.money import NANO, cost
from services.overflow.request import parse_request
from services.overflow.settings import Cap, Model
from tests.doubles.llm_provider import PROVIDER_KEY, WORDS, ProviderDouble, running_provider
from tests.gateways import DEADLINE_S, free_port, wait_for
from tests.overflows import (
    ALIAS,
    CLIENT,
    PRICE_IN,
    PRICE_OUT,
    RICH,
    RunningOverflow,
    chat,
    provider_at,
    running_overflow,
    settings_of,
    spent_in,
)

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
SECRET_TEXT = "the text of a request"


@pytest.fixture(scope="module")
def doubles() -> Iterator[tuple[ProviderDouble, ProviderDouble]]:
    with running_provider() as first, running_provider() as second:
        yield first, second


@pytest.fixture(scope="module")
def module_overflow(
    doubles: tuple[ProviderDouble, ProviderDouble], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningOverflow]:
    first, second = doubles
    late = {"late": Model("their/late", PRICE_IN, PRICE_OUT)}
    alone = {"slow-alone": Model("their/slow", PRICE_IN, PRICE_OUT)}
    slow = provider_at(first, "slow", models=late | alone, timeout_s=1)
    other = provider_at(second, "second", kind="anthropic")
    providers = (provider_at(first), slow, replace(other, models={**other.models, **late}))
    with running_overflow(tmp_path_factory.mktemp("overflow"), *providers) as running:
        yield running


@pytest.fixture
def first(doubles: tuple[ProviderDouble, ProviderDouble]) -> ProviderDouble:
    return _reset(doubles[0])


@pytest.fixture
def second(doubles: tuple[ProviderDouble, ProviderDouble]) -> ProviderDouble:
    return _reset(doubles[1])


@pytest.fixture
def overflow(module_overflow: RunningOverflow, doubles: tuple[ProviderDouble, ProviderDouble]) -> RunningOverflow:
    for double in doubles:
        _reset(double)
    return module_overflow


def _reset(double: ProviderDouble) -> ProviderDouble:
    double.hold.set()
    double.faults.clear()
    double.received.clear()
    double.used.clear()
    double.status, double.retry_after, double.at = 200, "", _nothing
    return double


def _nothing(_moment: str) -> None:
    pass


def charged(*doubles: ProviderDouble) -> int:
    """Return what the providers charge, in nano-USD."""
    return sum(cost(each[0], PRICE_IN, each[1], PRICE_OUT) for double in doubles for each in double.used)


def text_of(events: list[Any]) -> str:
    choices = [choice for event in events if event != "[DONE]" for choice in event.get("choices", ())]
    return "".join(each.get("delta", each).get("content") or each.get("text") or "" for each in choices)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_first_provider_answers(overflow: RunningOverflow, first: ProviderDouble, path: str, stream: bool) -> None:
    before = overflow.spent()
    reply = overflow.ask(path, stream=stream, max_tokens=9)
    assert reply.status == 200
    assert reply.headers["x-served-by"] == "overflow/first"
    if stream:
        assert reply.events[-1] == "[DONE]"
        assert text_of(reply.events) == "".join(WORDS)
        assert {event["model"] for event in reply.events[:-1]} == {ALIAS}
        assert not [event for event in reply.events[:-1] if "usage" in event]
    else:
        assert reply.json["model"] == ALIAS
    (sent,) = first.received
    assert sent.path == path
    assert sent.json["model"] == "their/tiny"
    assert sent.json["max_tokens"] == 9
    assert sent.headers["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert overflow.spent() - before == charged(first)


def test_embeddings(overflow: RunningOverflow, first: ProviderDouble) -> None:
    before = overflow.spent()
    reply = overflow.ask(EMBEDDINGS, model="embedder")
    assert (reply.status, reply.json["model"]) == (200, "embedder")
    assert "max_tokens" not in first.received[0].json
    assert overflow.spent() - before == cost(first.used[0][0], PRICE_IN, 0, 0) > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("tools", [[], TOOLS], ids=["text", "tools"])
def test_anthropic_answers_in_openais_shape(
    overflow: RunningOverflow, first: ProviderDouble, second: ProviderDouble, stream: bool, tools: list[Any]
) -> None:
    first.status = 503
    before = overflow.spent()
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "hello"}]},
    ]
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    reply = overflow.ask(
        messages=messages, stream=stream, max_tokens=9, tools=tools, temperature=1.7, stop="x", **options
    )
    assert reply.headers["x-served-by"] == "overflow/second"
    sent = second.received[0]
    assert sent.json["system"] == "be brief"
    assert sent.json["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    assert (sent.json["temperature"], sent.json["stop_sequences"], sent.json["max_tokens"]) == (1, ["x"], 9)
    assert sent.headers["authorization"] == f"Bearer {PROVIDER_KEY}"
    usage = reply.events[-2]["usage"] if stream else reply.json["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == second.used[0]
    if stream:
        assert text_of(reply.events) == "".join(WORDS)
        choices = [event["choices"][0] for event in reply.events[:-2]]
        calls = [each["delta"]["tool_calls"][0]["function"] for each in choices if "tool_calls" in each["delta"]]
        called = [(calls[0]["name"], calls[0]["arguments"] + calls[1]["arguments"])] if calls else []
        finish = choices[-1]["finish_reason"]
    else:
        (choice,) = reply.json["choices"]
        assert choice["message"]["content"] == "".join(WORDS)
        functions = [each["function"] for each in choice["message"].get("tool_calls", ())]
        called = [(each["name"], each["arguments"]) for each in functions]
        finish = choice["finish_reason"]
    assert called == ([("look", '{"a": 1}')] if tools else [])
    assert finish == ("tool_calls" if tools else "stop")
    # The first provider's status says nothing about its work, so its reservation stays.
    assert overflow.spent() - before > charged(second)


@pytest.mark.parametrize(
    "fault",
    [
        "status 500",
        "status 503",
        "status 400",
        "status 401",
        "status 404",
        "status 429",
        "hang_up",
        "redirect",
        "not_json",
        "not_an_object",
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_next_provider_answers(
    overflow: RunningOverflow, first: ProviderDouble, second: ProviderDouble, fault: str, stream: bool
) -> None:
    if fault.startswith("status"):
        first.status = int(fault.split()[1])
    else:
        first.faults.add(fault)
    before = overflow.spent()
    reply = overflow.ask(stream=stream)
    assert (reply.status, reply.headers["x-served-by"]) == (200, "overflow/second")
    assert len(first.received) == 1
    extra = overflow.spent() - before - charged(second)
    assert (extra == 0) == (fault.startswith("status 4") or fault == "redirect")


@pytest.mark.parametrize("fault", ["cut", "error_event"])
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_stream_that_has_begun_ends_with_an_error(
    overflow: RunningOverflow, first: ProviderDouble, second: ProviderDouble, fault: str, kind: str
) -> None:
    (first if kind == "openai" else second).faults.add(fault)
    first.status = 200 if kind == "openai" else 429
    before = overflow.spent()
    reply = overflow.ask(stream=True)
    assert reply.status == 200
    assert reply.events[-1]["error"]["code"] == "overflow_stream_cut"
    assert text_of(reply.events[:-1]) == WORDS[0]
    assert len(second.received) == (1 if kind == "anthropic" else 0)
    assert overflow.spent() - before >= charged(first, second) > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", ["no_usage", "usage_everywhere"])
def test_only_usage_of_a_whole_answer_settles(
    overflow: RunningOverflow, first: ProviderDouble, fault: str, stream: bool
) -> None:
    """Some providers send usage with every chunk, which grows until the end."""
    first.faults.add(fault)
    before = overflow.spent()
    assert overflow.ask(stream=stream).status == 200
    assert (overflow.spent() - before > charged(first)) == (fault == "no_usage")


def test_a_client_that_hangs_up_ends_the_providers_stream(overflow: RunningOverflow, first: ProviderDouble) -> None:
    seen, go = threading.Event(), threading.Event()

    def wait(moment: str) -> None:
        if moment == "first":
            seen.set()
            go.wait(DEADLINE_S)

    first.at = wait
    before = overflow.spent()
    connection = http.client.HTTPConnection("127.0.0.1", overflow.settings.port, timeout=DEADLINE_S)
    body = json.dumps({"model": ALIAS, "messages": [{"role": "user", "content": "x"}], "stream": True})
    connection.request("POST", CHAT, body, {"X-LLM-Data-Class": "public", "X-LLM-Client": "default"})
    answer = connection.getresponse()
    answer.read(5)
    assert seen.wait(DEADLINE_S)
    answer.close()
    connection.close()
    go.set()
    name = 'llm_overflow_requests_total{outcome="cut_by_the_client",provider="first"}'
    wait_for(lambda: overflow.metrics().get(name) or overflow.spent() > before, "the service to notice")
    assert overflow.spent() - before >= charged(first) > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_next_provider_answers_after_a_time_out(
    overflow: RunningOverflow, first: ProviderDouble, second: ProviderDouble, stream: bool
) -> None:
    first.hold.clear()
    before = overflow.spent()
    reply = overflow.ask(model="late", stream=stream)
    assert (reply.status, reply.headers["x-served-by"]) == (200, "overflow/second")
    assert len(first.received) == len(second.received) == 1
    assert overflow.spent() - before > charged(second), "nobody knows what the slow provider computed"
    first.hold.set()
    wait_for(lambda: first.used, "the slow provider to end")


def test_slow_provider_is_left_and_its_reservation_stays(overflow: RunningOverflow, first: ProviderDouble) -> None:
    first.hold.clear()
    before = overflow.spent()
    reply = overflow.ask(model="slow-alone")
    assert (reply.status, reply.code) == (503, "overflow_failed")
    assert int(reply.headers["retry-after"]) > 0
    assert overflow.spent() > before


def test_limit_of_all_providers_is_429_with_their_time(
    overflow: RunningOverflow, first: ProviderDouble, second: ProviderDouble
) -> None:
    first.status = second.status = 429
    first.retry_after, second.retry_after = "30", "20"
    reply = overflow.ask()
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (429, "overflow_rate_limit", "20")


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"data": "sensitive"}, id="sensitive"),
        pytest.param({"data": "internal"}, id="internal"),
        pytest.param({"data": None}, id="no class"),
        pytest.param({"data": "Public"}, id="unknown class"),
        pytest.param({"data": "public,sensitive"}, id="two classes"),
        pytest.param({"client": "other"}, id="another client"),
        pytest.param({"client": None}, id="no client"),
    ],
)
def test_refuses_what_the_gateway_should_not_have_sent(
    overflow: RunningOverflow, first: ProviderDouble, given: dict[str, Any]
) -> None:
    reply = overflow.ask(**given)
    assert (reply.status, reply.code) == (403, "data_must_stay")
    assert first.received == []


@pytest.mark.parametrize(
    "body",
    [
        {"temperature": "hot"},
        {"messages": [{"role": "system"}, {"role": "user", "content": "hello"}], "temperature": [1]},
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [{}]}]},
    ],
)
def test_what_cannot_be_translated_reserves_nothing(
    tmp_path: Path, second: ProviderDouble, body: dict[str, Any]
) -> None:
    with running_overflow(tmp_path, provider_at(second, kind="anthropic")) as overflow:
        reply = overflow.ask(**body)
        assert (reply.status, reply.code) == (503, "overflow_unavailable")
        assert (overflow.spent(), second.received) == (0, [])


def test_unknown_model_and_field(overflow: RunningOverflow, first: ProviderDouble) -> None:
    for body in ({"model": "another"}, {"top_k": 3}):
        reply = overflow.ask(**body)
        assert (reply.status, reply.code) == (503, "overflow_unavailable")
    assert first.received == []


def test_what_was_not_sent_gets_the_gateways_refusal(overflow: RunningOverflow, first: ProviderDouble) -> None:
    said = {"Status": "429", "Code": "would_wait_too_long", "Text": "It would wait.", "Retry-After": "2"}
    refusal = {f"X-LLM-Refusal-{name}": value for name, value in said.items()}
    for body in ({"model": "another"}, {"top_k": 3}):
        reply = overflow.ask(headers=refusal, **body)
        assert (reply.status, reply.code, reply.headers["retry-after"]) == (429, "would_wait_too_long", "2")
        assert reply.json["error"]["type"] == "rate_limit_error"
    for header, value in (("Status", "200"), ("Code", ""), ("Retry-After", "soon")):
        reply = overflow.ask(headers={**refusal, f"X-LLM-Refusal-{header}": value}, model="another")
        assert (reply.status, reply.code) == (503, "overflow_unavailable")
    assert first.received == []


def test_other_requests(overflow: RunningOverflow) -> None:
    headers = {"X-LLM-Data-Class": "public", "X-LLM-Client": "default"}
    assert overflow.exchange("POST", "/v1/models", b"{}", headers).status == 404
    assert overflow.exchange("POST", CHAT, b"", {**headers, "Content-Length": "9999999"}).status == 413
    assert overflow.exchange("GET", "/v1/models").status == 503
    assert overflow.ready()


def test_writes_no_text_and_no_key(overflow: RunningOverflow, first: ProviderDouble) -> None:
    overflow.ask(messages=[{"role": "user", "content": SECRET_TEXT}], user=SECRET_TEXT)
    assert SECRET_TEXT.encode() in first.received[0].body
    unknown: dict[str, Any] = {SECRET_TEXT: 1}
    assert overflow.ask(**unknown).status == 503
    ledger = Path(overflow.settings.ledger)
    files = [ledger, *ledger.parent.glob("ledger*"), ledger.parent / "overflow.log", ledger.parent / "settings.json"]
    for text in (SECRET_TEXT, PROVIDER_KEY):
        assert [file for file in files if text.encode() in file.read_bytes()] == []


def test_cap_holds_under_many_requests_at_once(tmp_path: Path, first: ProviderDouble) -> None:
    """Usage is above the mean and comes late, and a quarter of the answers have none."""
    first.faults.add("no_usage")
    one = cost(100, PRICE_IN, 100, PRICE_OUT)
    cap = Cap(20 * one, 1000 * one)
    with running_overflow(tmp_path, provider_at(first, cap=cap)) as overflow:
        with ThreadPoolExecutor(60) as pool:
            replies = list(pool.map(lambda index: overflow.ask(stream=index % 2 == 0), range(120)))
        assert {reply.status for reply in replies} == {200, 429}
        refused = [reply for reply in replies if reply.status == 429]
        assert {reply.code for reply in refused} == {"overflow_cap_reached"}
        assert 0 < int(refused[0].headers["retry-after"]) <= 86_400
        assert 0 < charged(first) <= overflow.spent() <= cap.day
        assert cap.day - overflow.spent() < 2 * one
        metrics = overflow.metrics()
        assert 0.8 < metrics['llm_overflow_spent_ratio{provider="first",period="day"}'] <= 1
        assert metrics["llm_overflow_alert_ratio"] == 0.8


def test_says_when_the_cap_is_reached(tmp_path: Path, first: ProviderDouble) -> None:
    provider = provider_at(first)
    request = parse_request(CHAT, CLIENT, json.dumps(chat()).encode(), 100)
    worst = request.worst(provider, provider.models[ALIAS]).nano
    first.faults.add("no_usage")
    with running_overflow(tmp_path, provider, cap=Cap(10 * NANO, 2 * worst)) as overflow:
        assert [(overflow.ask().status, overflow.ready()) for _ in range(3)] == [
            (200, True),
            (200, False),
            (429, False),
        ]


@pytest.mark.parametrize("moment", ["computed", "first", "usage"])
def test_cap_holds_when_the_service_is_killed(tmp_path: Path, moment: str) -> None:
    """The provider ends the service in the middle of an answer; the next process knows what was reserved.

    It is one of its own: the other one may still end an answer of an earlier test.
    """
    with running_provider() as provider, running_overflow(tmp_path, provider_at(provider)) as overflow:
        provider.at = lambda now: overflow.kill() if now == moment else None
        with suppress(OSError, http.client.HTTPException):
            overflow.ask(stream=True)
        wait_for(lambda: overflow.process.poll() is not None, "the kill")
    assert spent_in(overflow.settings.ledger) >= charged(provider) > 0


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_cap_holds_when_the_service_dies_at_any_line(tmp_path: Path, first: ProviderDouble, kind: str) -> None:
    """Each seventeenth line of the service ends a process; no charge is missing in the ledger."""
    settings = settings_of(tmp_path, provider_at(first, kind=kind), port=1, metrics_port=2)
    (tmp_path / "settings.json").write_text(settings.to_json())
    command = [sys.executable, "-m", f"{__package__}.dying", str(tmp_path / "settings.json")]
    deaths, began = 0, False
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin
        assert program.stdout
        for line in program.stdout:
            began = began or bool(first.used)
            assert int(line) in (0, -signal.SIGKILL)
            assert not began or spent_in(settings.ledger) >= charged(first)
            deaths += int(line) != 0
            program.stdin.write("\n")
            program.stdin.flush()
    assert int(line) == 0
    assert deaths > 10
    assert len(first.used) > 2
    assert spent_in(settings.ledger) > charged(first)


def test_a_full_disk_refuses(tmp_path: Path, first: ProviderDouble) -> None:
    """No reservation, no request. A limit on the size of files stands for the full disk."""
    launcher = ("prlimit", "--fsize=36864")
    with running_overflow(tmp_path, provider_at(first), launcher=launcher) as overflow:
        replies = [overflow.ask() for _ in range(30)]
        assert (replies[-1].status, replies[-1].code) == (503, "overflow_unavailable")
        assert len(first.received) == sum(reply.status == 200 for reply in replies)
        assert spent_in(overflow.settings.ledger) >= charged(first)


def test_a_stop_waits_for_running_answers(tmp_path: Path, first: ProviderDouble) -> None:
    first.hold.clear()
    with running_overflow(tmp_path, provider_at(first)) as overflow, ThreadPoolExecutor(1) as pool:
        running = pool.submit(overflow.ask)
        wait_for(lambda: first.received, "the request")
        overflow.process.terminate()
        wait_for(lambda: not overflow.ready(), "the stop")
        first.hold.set()
        assert running.result().status == 200
        assert overflow.process.wait(DEADLINE_S) == 0
        assert spent_in(overflow.settings.ledger) == charged(first)


def test_no_provider_is_there(tmp_path: Path) -> None:
    provider = replace(provider_at(free_port()), cap=RICH)
    with running_overflow(tmp_path, provider) as overflow:
        assert overflow.ask().status == 503
        assert overflow.spent() == 0
