"""What a host reports for `make top`: a real HAProxy's servers, an engine's counters, the journal's lines."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from provisioning.programs.host import top_report
from tests.doubles.engine import ENGINE_KEY, EngineDouble
from tests.gateways import wait_for
from tests.unit.provisioning.conftest import NewGateway

POST = {
    "method": "POST",
    "client": "default",
    "address": "192.0.2.1",
    "class": "batch",
    "status": 200,
    "queue_ms": 3,
    "first_token_ms": "40",
}


def test_running_and_waiting_requests(new_gateway: NewGateway, engine: EngineDouble) -> None:
    gateway = new_gateway(max_concurrency=2, max_queue=4)
    engine.hold.clear()
    threads = [
        threading.Thread(target=gateway.ask, args=("POST", "/v1/completions"), kwargs={"body": b'{"model": "tiny"}'})
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: gateway.waiting() == 3, "three waiting requests")
    seen = top_report.servers(gateway.places.admin_socket, ["main"])
    by_class = top_report.waiting(f"http://{gateway.places.metrics_address}/queue-metrics")
    engine.hold.set()
    for thread in threads:
        thread.join()
    assert seen
    assert seen["waiting"] == {"main": 3}
    assert by_class == [
        {"class": "interactive", "pool": "main", "requests": 3},
        {"class": "batch", "pool": "main", "requests": 0},
    ]
    (server,) = seen["servers"]
    assert (server["pool"], server["state"], server["running"], server["places"]) == ("main", "UP", 2, 2)


def test_a_gateway_that_does_not_say_who_waits(new_gateway: NewGateway) -> None:
    assert top_report.waiting(f"http://{new_gateway().places.metrics_address}/other") is None


def test_a_host_without_a_gateway(tmp_path: Path) -> None:
    assert top_report.servers(str(tmp_path / "none.sock"), ["main"]) is None


def test_the_engines_counters(engine: EngineDouble, tmp_path: Path) -> None:
    (tmp_path / "engine.env").write_text(f"VLLM_API_KEY={ENGINE_KEY}\n")
    seen = top_report.engine("vllm", engine.port, str(tmp_path / "engine.env"))
    assert seen
    assert set(seen) == {"running", "waiting", "prompt_tokens", "answer_tokens", "cache", "adapters"}
    assert (seen["cache"], seen["adapters"]) == (0.25, ["contract"])


@pytest.mark.parametrize("kind", ["vllm", "ollama", ""])
def test_no_engine_that_answers(kind: str, tmp_path: Path) -> None:
    (tmp_path / "engine.env").write_text("VLLM_API_KEY=x\n")
    assert top_report.engine(kind, 1, str(tmp_path / "engine.env")) is None


def test_the_newest_combination_of_adapters_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """vLLM keeps a series for each combination that it ever had."""
    (tmp_path / "engine.env").write_text("")
    name = "vllm:lora_requests_info"
    samples = [
        (name, {"running_lora_adapters": "old", "waiting_lora_adapters": ""}, 100.0),
        (name, {"running_lora_adapters": "b,a", "waiting_lora_adapters": ""}, 300.0),
        (name, {"running_lora_adapters": "", "waiting_lora_adapters": ""}, 200.0),
    ]
    monkeypatch.setattr(top_report, "metrics", lambda *_: samples)
    seen = top_report.engine("vllm", 1, str(tmp_path / "engine.env"))
    assert seen
    assert seen["adapters"] == ["a", "b"]


def journal(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Put a journalctl on PATH that prints `lines`."""
    program = folder / "bin" / "journalctl"
    program.parent.mkdir()
    text = "\n".join(lines)
    program.write_text(f"#!/bin/sh\necho \"$@\" > {folder}/asked\ncat <<'END'\n{text}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_requests_of_the_log_without_their_senders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other: dict[str, Any] = {**POST, "method": "GET"}
    journal(tmp_path, monkeypatch, "Server main/one is UP", json.dumps(POST), json.dumps(other), '{"cut off', "{}")
    found = top_report.requests("haproxy.service", 60)
    seen = {"class": "batch", "status": 200, "queue_ms": 3, "first_token_ms": 40}
    assert found == [{**dict.fromkeys(top_report.REQUEST_FIELDS), **seen}]
    assert "--since=-60s" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize(
    ("line", "expected"),
    [({"first_token_ms": "0"}, 0), ({"first_token_ms": "-"}, -1), ({}, -1)],
    ids=["at once", "the answer had no body", "a gateway before its next provision"],
)
def test_first_token_of_a_line(line: dict[str, Any], expected: int) -> None:
    assert top_report.first_token(line) == {"first_token_ms": expected}


def test_a_broken_part_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    journal(tmp_path, monkeypatch)
    (tmp_path / "bin" / "journalctl").write_text("#!/bin/sh\nexit 1\n")
    question = {
        **{"gateway_socket": str(tmp_path / "none"), "gateway_unit": "haproxy.service", "has_gateway": True},
        **{"pools": ["main"], "window_s": 60, "engine": "", "engine_port": 1, "engine_env": "", "overflow_port": 1},
        "queue_metrics": "http://127.0.0.1:1/queue-metrics",
    }
    top_report.main(json.dumps(question))
    seen = json.loads(capsys.readouterr().out)
    assert list(seen["unseen"]) == ["requests"]
    assert (seen["gateway"], seen["overflow"]) == (None, None)
    assert seen["monotonic"] > 0
