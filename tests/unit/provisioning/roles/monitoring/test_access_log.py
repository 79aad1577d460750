"""The access log of a real HAProxy, and vLLM's lines about tokens, as mtail's metrics."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from provisioning.programs.monitoring import access_metrics
from provisioning.roles.gateway.gateway import LOG_FIELDS
from provisioning.roles.monitoring.exporters import READ_FIELDS
from tests.doubles.engine import EngineDouble
from tests.gateways import wait_for
from tests.metrics import read_metrics
from tests.unit.provisioning.conftest import NewGateway
from tests.unit.provisioning.roles.monitoring.running_mtail import running_mtail


def test_requests_become_metrics(new_gateway: NewGateway, engine: EngineDouble, tmp_path: Path) -> None:
    gateway = new_gateway()
    body = json.dumps({"model": "tiny", "prompt": "hello"}).encode()
    with running_mtail(tmp_path, tmp_path / "log") as metrics:
        for _ in range(3):
            gateway.ask("POST", "/v1/completions", body=body)
        gateway.ask("POST", "/v1/completions", key="sk-wrong", body=body)
        gateway.ask("GET", "/v1/models")
        engine.faults.add("overloaded")
        gateway.ask("POST", "/v1/completions", body=body)
        wait_for(lambda: metrics.sum("llm_log_lines_total") >= 6, "all lines")
        assert metrics.sum("llm_log_lines_total") == 6
        served = {"decision": "served", "pool": "main"}
        assert metrics.sum("llm_requests_total", status="200", **served) == 3
        assert metrics.sum("llm_requests_total", status="503", **served) == 1
        assert metrics.sum("llm_requests_total", status="401", decision="refused") == 1
        assert metrics.sum("llm_requests_total") == 5, "a list of models is not a request to the engine"
        assert metrics.sum("llm_client_requests_total", client="default", decision="served") == 4
        assert metrics.sum("llm_first_token_seconds_count") == 3, "an error has no first token"
        assert metrics.sum("llm_queue_seconds_count", pool="main") == 4
        assert metrics.sum("llm_queue_seconds_bucket", pool="main", le="0.1") == 4, "a wait of 0 is in a bucket"


def test_the_wait_and_the_first_token_are_histograms(tmp_path: Path) -> None:
    line = {
        **dict.fromkeys(("client", *READ_FIELDS), "x"),
        **{
            "method": "POST",
            "decision": "served",
            "status": 200,
            "queue_ms": 2500,
            "first_byte_ms": 7,
            "first_token_ms": "3200",
        },
    }
    text = json.dumps({name: line.get(name, 0) for name in LOG_FIELDS}, separators=(",", ":"))
    log = tmp_path / "log"
    log.write_text(f"{text}\nanother line\n")
    with running_mtail(tmp_path, log) as metrics:
        wait_for(lambda: metrics.sum("llm_first_token_seconds_count"), "the line")
        assert metrics.sum("llm_first_token_seconds_sum") == pytest.approx(3.2, abs=1e-4)
        assert metrics.sum("llm_queue_seconds_sum") == pytest.approx(2.5, abs=1e-4)
        assert metrics.sum("llm_first_token_seconds_bucket", le="2") == 0
        assert metrics.sum("llm_first_token_seconds_bucket", le="4") == 1


def test_vllms_lines_are_counted_by_model(tmp_path: Path) -> None:
    lines = [
        '{"tokens":"vllm","request_id":"a","model":"contract@3","prompt_tokens":5,"answer_tokens":16,"cached_tokens":0}',
        '{"tokens":"vllm","request_id":"b","model":"contract@3","prompt_tokens":7,"answer_tokens":1,"cached_tokens":0}',
        '(APIServer pid=7) INFO a line of vLLM with "model":"x","prompt_tokens":5,"answer_tokens":5',
    ]
    (tmp_path / "log").write_text("\n".join(lines) + "\n")
    with running_mtail(tmp_path, tmp_path / "log") as metrics:
        wait_for(lambda: metrics.sum("llm_tokens_total", direction="answer") == 17, "both lines")
        assert metrics.sum("llm_tokens_total", direction="prompt", model="contract@3") == 12
        assert metrics.sum("llm_tokens_total") == 29


@pytest.mark.parametrize(("writer", "reader"), [(["true"], ["sleep", "600"]), (["sleep", "600"], ["true"])])
def test_the_feed_ends_with_either_of_its_two_programs(writer: list[str], reader: list[str]) -> None:
    """mtail waits for ever on a pipe whose writer is gone; the unit must restart both."""
    script = f"import sys; from {access_metrics.__name__} import run; sys.exit(run({writer!r}, {reader!r}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, "true ended\n")


def test_the_feed_reads_new_lines_of_the_units_alone() -> None:
    command = access_metrics.journal_command(["haproxy.service", "vllm.service"])
    assert command[-4:] == ["--unit", "haproxy.service", "--unit", "vllm.service"]
    assert {"--follow", "--merge", "--since=now", "--output=cat"} <= set(command)


def test_metrics_are_read_only_on_loopback() -> None:
    command = access_metrics.mtail_command("/p", "8409")
    assert command[command.index("--address") + 1] == "127.0.0.1"
    assert read_metrics("a 1\n")[0].value == 1
