"""The demo's alerts: what Prometheus answers, as a table and as a page."""

import json
import re
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from core.errors import DeployError
from core.paths import outputs_file
from provisioning.roles.monitoring.alerts import rules_file
from provisioning.roles.monitoring.configs import prometheus_config
from provisioning.roles.monitoring.targets import Target
from services.overflow.money import cost
from services.overflow.settings import Cap
from serving.spec.models import GatewaySpec
from serving.spec.monitoring_fields import MonitoringSpec
from tests.doubles.llm_provider import running_provider
from tests.gateways import ADDRESS, free_port, vllm_serving, wait_for
from tests.overflows import PRICE_IN, PRICE_OUT, provider_at, running_overflow
from tools import pool_alerts

STACK = "spare"
LABELS = {"__name__": "ALERTS", "alertname": "OverflowSpendHigh", "alertstate": "firing", "severity": "warning"}
RANGE = {"result": [{"metric": {**LABELS, "provider": "<double>", "period": "day"}, "values": [[0, "1"], [75, "1"]]}]}
FIRING = {"result": [{"metric": LABELS, "values": [[0, "1"], [2e9, "1"]]}]}
RULES = {"groups": [{"rules": [{"name": "OverflowSpendHigh", "annotations": {"do": "Run `make spend`."}}]}]}
TIMES = ("1970-01-01 00:00:00", "1970-01-01 00:01:15")
ROW = ("OverflowSpendHigh", "warning", "period day, provider <double>", *TIMES, "Run `make spend`.")


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Callable[[str], str]], None]:
    """A stack; called with a function that plays a shell on its gateway's machine."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path / "runs"))
    outputs_file(STACK).parent.mkdir(parents=True)
    outputs_file(STACK).write_text('{"gateway_host": "spare-gateway"}')

    def play(shell: Callable[[str], str]) -> None:
        def fab(*words: str) -> str:
            assert words[:-1] == (STACK, "ssh", "--host", "spare-gateway", "--command")
            return shell(words[-1])

        monkeypatch.setattr(pool_alerts, "fab", fab)

    return play


@pytest.fixture
def answers(stack: Callable[[Callable[[str], str]], None], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Prometheus answers, by the API's path."""
    data: dict[str, Any] = {"query_range": RANGE, "rules": RULES}

    def shell(command: str) -> str:
        path = command.partition("/api/v1/")[2].partition("?")[0]
        return json.dumps({"status": "success", "data": data[path]}) if data[path] else ""

    stack(shell)
    monkeypatch.setattr(pool_alerts, "FIRES_S", 0)
    return data


def test_fired_alerts_become_a_table_and_a_page(
    answers: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answers
    assert pool_alerts.show_alerts(STACK) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["alert", "severity"]
    assert [cell.strip() for cell in row.split("  ") if cell] == list(ROW)
    folder = (tmp_path / "runs" / STACK / "latest").resolve()
    assert json.loads((folder / "alerts.json").read_text())["alerts"] == [
        dict(zip(pool_alerts.COLUMNS, ROW, strict=True))
    ]
    text = (folder / "alerts.html").read_text()
    assert "&lt;double&gt;" in text
    assert "<double>" not in text
    assert re.search(r"Made at 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.", text)
    assert '<td data-column="from">1970-01-01 00:00:00</td>' in text


def test_an_alert_that_still_fires_has_no_end(answers: dict[str, Any]) -> None:
    answers["query_range"] = FIRING
    (alert,) = pool_alerts.alerts_of(STACK)
    assert alert.cells()[3:5] == ("1970-01-01 00:00:00", "still fires")


@pytest.mark.parametrize(
    ("states", "ends"),
    [
        ({"pending": 60}, ["1970-01-01 00:01:00, before it fired"]),
        ({"pending": 2e9}, ["does not fire yet"]),
        ({"pending": 60, "firing": 90}, ["1970-01-01 00:01:30"]),
    ],
    ids=["ended", "pending", "fired"],
)
def test_the_dead_host_is_shown_also_if_it_came_back_before_the_alert_fired(
    answers: dict[str, Any], states: dict[str, float], ends: list[str]
) -> None:
    about = {**LABELS, "alertname": "EngineOut", "host": "spare-2", "proxy": "main"}
    answers["query_range"] = {
        "result": [
            {"metric": {**about, "alertstate": state}, "values": [[0, "1"], [last, "1"]]}
            for state, last in states.items()
        ]
    }
    assert [alert.cells()[4] for alert in pool_alerts.alerts_of(STACK)] == ends
    with pytest.raises(DeployError, match="OverflowSpendHigh did not fire"):
        pool_alerts.show_alerts(STACK)


@pytest.mark.parametrize("result", [{"result": []}, None], ids=["no alert", "no Prometheus"])
def test_fails_without_the_alert_that_the_demo_causes(answers: dict[str, Any], result: dict[str, Any] | None) -> None:
    answers["query_range"] = result
    with pytest.raises(DeployError, match="OverflowSpendHigh did not fire"):
        pool_alerts.show_alerts(STACK)


def query(port: int, expr: str) -> str:
    """Return what Prometheus answers; nothing while it starts."""
    url = f"http://{ADDRESS}:{port}/api/v1/query"
    argv = ["curl", "-s", "-G", url, "--data-urlencode", f"query={expr}"]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def test_real_spending_fires_the_alert_in_a_real_prometheus(
    stack: Callable[[Callable[[str], str]], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From a request to a provider to the row in the table."""
    port = free_port()
    monkeypatch.setattr("tools.pool_alerts.PROMETHEUS_PORT", port)
    stack(lambda command: subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False).stdout)
    spec = GatewaySpec(monitoring=MonitoringSpec())
    assert spec.monitoring
    cap = Cap(10 * cost(100, PRICE_IN, 100, PRICE_OUT), 1000 * cost(100, PRICE_IN, 100, PRICE_OUT))
    with ExitStack() as undo:
        provider = undo.enter_context(running_provider())
        service = undo.enter_context(running_overflow(tmp_path, provider_at(provider, cap=cap)))
        target = Target(job="overflow", host="one", address=f"{ADDRESS}:{service.settings.metrics_port}")
        (tmp_path / "rules.yml").write_text(rules_file(vllm_serving(8000), spec, spec.monitoring, ["main"]))
        config = prometheus_config([target], str(tmp_path / "rules.yml"), alerts=False, scrape_s=1)
        (tmp_path / "prometheus.yml").write_text(config)
        files = (f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data")
        listen = f"--web.listen-address={ADDRESS}:{port}"
        with (tmp_path / "prometheus.log").open("wb") as log:
            running = subprocess.Popen(["prometheus", *files, listen], stdout=log, stderr=log, cwd=tmp_path)
        undo.callback(running.wait)
        undo.callback(running.terminate)
        assert service.ask().status == 200
        wait_for(lambda: "first" in query(port, "llm_overflow_spent_ratio > 0"), "Prometheus")
        assert pool_alerts.alerts_of(STACK) == []  # one answer of ten
        while service.ask().status == 200:  # until the cap
            pass
        assert pool_alerts.show_alerts(STACK) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert {row.split("  ")[0] for row in rows} == {"OverflowSpendHigh"}
    assert "period day, provider first" in "".join(rows)
