"""Every query of every panel has a result in a real Prometheus that reads a real HAProxy, mtail and node exporter."""

import json
import math
import os
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from provisioning.dashboards import write
from provisioning.dashboards.panels import DASHBOARDS
from provisioning.dashboards.write import files
from provisioning.programs.monitoring import host_metrics
from provisioning.roles.monitoring.alerts import rules_file
from provisioning.roles.monitoring.configs import prometheus_config
from provisioning.roles.monitoring.targets import Target
from serving.spec.models import GatewaySpec
from serving.spec.monitoring_fields import MonitoringSpec
from tests.doubles.engine import EngineDouble
from tests.gateways import ADDRESS, RunningGateway, free_port, vllm_serving, wait_for
from tests.unit.provisioning.conftest import NewGateway
from tests.unit.provisioning.roles.monitoring.running_mtail import running_mtail

RATE_INTERVAL = "20s"


def test_the_files_in_the_repository_are_current() -> None:
    assert {path: path.read_text() for path in files()} == files(), "run make dashboards"


def test_make_dashboards_writes_the_files_and_says_how_to_load_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(write, "FOLDER", tmp_path / "grafana")
    monkeypatch.setattr(write, "CHECKOUT", tmp_path)
    write.main()
    assert {path: path.read_text() for path in (tmp_path / "grafana").iterdir()} == files()
    said = capsys.readouterr().err
    assert [path.name in said for path in files()] == [True] * len(DASHBOARDS)
    assert "Import" in said
    assert 'make ssh STACK=NAME ARGS="--forward 9090"' in said


def test_panels_do_not_overlap() -> None:
    for text in files().values():
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(text)["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24
            taken |= cells


@contextmanager
def running(*argv: str, cwd: Path) -> Iterator[None]:
    """Run a program; its output goes to a file in `cwd`."""
    with (cwd / f"{Path(argv[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=cwd)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


class Prometheus:
    """A Prometheus."""

    def __init__(self, port: int) -> None:
        self._base = f"http://{ADDRESS}:{port}"

    def is_ready(self) -> bool:
        """Return whether it takes queries."""
        try:
            with urllib.request.urlopen(f"{self._base}/-/ready"):  # noqa: S310
                return True
        except urllib.error.URLError:
            return False

    def get(self, path: str, **words: str) -> Any:
        """Return what its API says."""
        with urllib.request.urlopen(f"{self._base}/api/v1/{path}?{urllib.parse.urlencode(words)}") as answer:  # noqa: S310
            return json.load(answer)["data"]

    def values(self, expr: str) -> list[float]:
        """Return the numbers that a query has now, without NaN."""
        result = self.get("query", query=expr.replace("$__rate_interval", RATE_INTERVAL))["result"]
        return [value for value in (float(each["value"][1]) for each in result) if not math.isnan(value)]


@pytest.fixture
def prometheus(
    new_gateway: NewGateway, engine: EngineDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Prometheus]:
    """A Prometheus that reads a gateway with an engine, under traffic of all kinds."""
    gateway = new_gateway()
    tokens = tmp_path / "tokens"
    tokens.touch()
    with ExitStack() as undo:
        access = undo.enter_context(running_mtail(tmp_path, tmp_path / "log", tokens))
        node = _host(gateway, tmp_path, monkeypatch, undo)
        port = free_port()
        read = [
            Target(job="haproxy", host="one", address=gateway.places.metrics_address),
            Target(job="queue", host="one", address=gateway.places.metrics_address, path="/queue-metrics"),
            Target(job="engine", host="one", address=gateway.places.metrics_address, path="/engine-metrics"),
            Target(job="access", host="one", address=access.url.split("/")[2]),
            Target(job="node", host="one", address=f"{ADDRESS}:{node}"),
            Target(job="prometheus", host="one", address=f"{ADDRESS}:{port}"),
        ]
        spec = GatewaySpec(monitoring=MonitoringSpec())
        assert spec.monitoring
        rules = rules_file(vllm_serving(8000), spec, spec.monitoring, ["main"])
        (tmp_path / "rules.yml").write_text(rules)
        config = prometheus_config(read, str(tmp_path / "rules.yml"), alerts=False, scrape_s=1)
        (tmp_path / "prometheus.yml").write_text(config)
        arguments = (f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data")
        undo.enter_context(running("prometheus", *arguments, f"--web.listen-address={ADDRESS}:{port}", cwd=tmp_path))
        made = Prometheus(port)
        wait_for(made.is_ready, "Prometheus")
        ended = threading.Event()
        traffic = threading.Thread(target=_send, args=(gateway, engine, tokens, ended))
        traffic.start()
        try:
            yield made
        finally:
            ended.set()
            traffic.join()


def _host(gateway: RunningGateway, folder: Path, monkeypatch: pytest.MonkeyPatch, undo: ExitStack) -> int:
    """Measure the host once, with a GPU, and run its node exporter; return its port."""
    smi = folder / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\necho '0, 1024, 23034, 55'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{smi.parent}:{os.environ['PATH']}")
    (folder / "textfile").mkdir()
    settings = {
        **{"folder": str(folder / "textfile"), "admin_socket": gateway.places.admin_socket, "ollama_port": 0},
        **{"certificate": gateway.places.certificate, "journal": str(folder), "notice": str(folder / "notice.json")},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    host_metrics.main(str(folder / "settings.json"))
    port = free_port()
    arguments = (f"--web.listen-address={ADDRESS}:{port}", f"--collector.textfile.directory={folder}/textfile")
    undo.enter_context(running("prometheus-node-exporter", *arguments, cwd=folder))
    return port


def _send(gateway: RunningGateway, engine: EngineDouble, tokens: Path, ended: threading.Event) -> None:
    """Send requests that are served, refused and broken off, until `ended`."""
    body = json.dumps({"model": "tiny", "prompt": "hello"}).encode()
    line = '{"tokens":"vllm","request_id":"a","model":"tiny","prompt_tokens":5,"answer_tokens":16,"cached_tokens":0}\n'
    while not ended.is_set():
        gateway.ask("POST", "/v1/completions", body=body)
        gateway.ask("POST", "/v1/completions", key="sk-wrong", body=body)
        engine.faults.add("hang_up")
        gateway.ask("POST", "/v1/completions", body=body)
        engine.faults.discard("hang_up")
        with tokens.open("a") as file:
            file.write(line)
        ended.wait(0.2)


def test_no_panel_is_empty(prometheus: Prometheus) -> None:
    wait_for(lambda: len(prometheus.values("up == 1")) == 6, "all targets")
    queries = {
        f"{dashboard.title}, {panel.title}, {query.legend}": query.expr
        for dashboard in DASHBOARDS
        for panel in dashboard.panels
        for query in panel.queries
    }
    empty = dict(queries)

    def all_have_values() -> bool:
        for name, expr in list(empty.items()):
            if prometheus.values(expr):
                del empty[name]
        return not empty

    try:
        wait_for(all_have_values, "a result of each query")
    except AssertionError:
        pytest.fail(f"empty: {json.dumps(empty, indent=2)}")
    loaded = prometheus.get("rules")["groups"][0]["rules"]
    assert {rule["health"] for rule in loaded} <= {"ok", "unknown"}, [
        rule for rule in loaded if rule["health"] == "err"
    ]
