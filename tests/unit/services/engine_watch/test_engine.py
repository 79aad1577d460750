"""What the watcher asks the engine, over real sockets and from real texts."""

import socket
from collections.abc import Iterator

import pytest

from services.engine_watch.engine import Engine, connections, read_metrics
from tests.doubles.engine import ENGINE_KEY, EngineDouble, running_engine

IDLE = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 0.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="capacity"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.0
vllm:prompt_tokens_total{engine="0",model_name="tiny"} 9.0
vllm:prompt_tokens_created{engine="0",model_name="tiny"} 1.7e+09
vllm:generation_tokens_total{engine="0",model_name="tiny"} 4.0
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="tiny"} 4.0
vllm:iteration_tokens_total_count{engine="0",model_name="tiny"} 5.0
vllm:request_success_total{engine="0",finished_reason="abort",model_name="tiny"} 0.0
process_cpu_seconds_total 12.5
"""
"""Lines of vLLM 0.32's /metrics; tests/machine compares the names with the real ones."""

LABELS = '{engine="0",model_name="tiny"}'
MOVES = {
    "a request arrived at the core": (f"requests_running{LABELS} 0.0", "requests_running{} 1.0"),
    "a part of a long prompt": (f"cache_usage_perc{LABELS} 0.0", "cache_usage_perc{} 0.01"),
    "a token": (f"generation_tokens_total{LABELS} 4.0", "generation_tokens_total{} 5.0"),
    "a step": (f"tokens_total_count{LABELS} 5.0", "tokens_total_count{} 6.0"),
}
STAYS = {
    "a client hung up": ('finished_reason="abort",model_name="tiny"} 0.0', 'finished_reason="abort"} 1.0'),
    "the process computed": ("process_cpu_seconds_total 12.5", "process_cpu_seconds_total 13.5"),
}


@pytest.mark.parametrize(("old", "new"), MOVES.values(), ids=MOVES)
def test_steps_of_the_core_change_the_mark(old: str, new: str) -> None:
    assert old in IDLE
    assert read_metrics(IDLE.replace(old, new)).mark != read_metrics(IDLE).mark


@pytest.mark.parametrize(("old", "new"), STAYS.values(), ids=STAYS)
def test_counts_of_the_front_are_not_steps(old: str, new: str) -> None:
    assert old in IDLE
    assert read_metrics(IDLE.replace(old, new)) == read_metrics(IDLE)


@pytest.mark.parametrize(("name", "busy"), [("running", True), ("waiting", True), ("waiting_by_reason", False)])
def test_requests_make_an_engine_busy(name: str, busy: bool) -> None:
    text = "\n".join(
        line.replace("} 0.0", "} 3.0") if line.startswith(f"vllm:num_requests_{name}{{") else line
        for line in IDLE.splitlines()
    )
    assert read_metrics(text).busy is busy


@pytest.fixture
def double() -> Iterator[EngineDouble]:
    with running_engine() as engine:
        yield engine


def test_asks_for_one_token_with_the_engines_key(double: EngineDouble) -> None:
    engine = Engine("vllm", double.port, ENGINE_KEY)
    assert engine.token("tiny") == ""
    assert b'"max_tokens": 1' in double.received[-1].body
    assert engine.token("absent") == "HTTP 404"
    assert Engine("vllm", double.port, "other").token("tiny") == "HTTP 401"


@pytest.mark.parametrize(
    ("fault", "problem"),
    [("no_choices", "an answer without choices"), ("broken_json", "Expecting"), ("hang_up", "Remote end closed")],
)
def test_no_token(double: EngineDouble, fault: str, problem: str) -> None:
    double.faults.add(fault)
    assert problem in Engine("vllm", double.port, ENGINE_KEY).token("tiny")


def test_no_token_in_time(double: EngineDouble) -> None:
    double.hold.clear()
    assert "timed out" in Engine("vllm", double.port, ENGINE_KEY).token("tiny", 0.1)


def test_a_closed_port_is_not_a_silent_engine(double: EngineDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.engine_watch.engine.ANSWER_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert Engine("vllm", port).counters().kind == "silent"
    assert Engine("vllm", port).counters().kind == "refused"
    assert Engine("ollama", double.port).counters().kind == "silent"


def test_sees_who_is_connected(double: EngineDouble) -> None:
    engine = Engine("vllm", double.port)
    assert not engine.asked_by_others()
    with socket.create_connection(("127.0.0.1", double.port)):
        assert engine.asked_by_others()


def test_counts_connections_to_the_port_alone() -> None:
    table = """\
  sl  local_address rem_address   st tx_queue rx_queue
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000
   1: 0100007F:1F40 0100007F:C350 01 00000000:00000000
   2: 0100007F:C350 0100007F:1F40 01 00000000:00000000
   3: 0100007F:1F40 0100007F:C351 06 00000000:00000000
"""
    assert connections(table, 8000) == 1
