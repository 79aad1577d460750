"""What the host measures of itself: certificate, journal, GPU, notice, Ollama."""

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from provisioning.programs.monitoring import host_metrics
from tests.unit.provisioning.conftest import NewGateway

Settings = dict[str, Any]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with nothing to measure."""
    folders = {name: tmp_path / name for name in ("folder", "journal")}
    for folder in folders.values():
        folder.mkdir()
    return {
        **{name: str(folder) for name, folder in folders.items()},
        "admin_socket": str(tmp_path / "none.sock"),
        "certificate": str(tmp_path / "server.pem"),
        "notice": str(tmp_path / "notice.json"),
        "ollama_port": 0,
    }


def seen(settings: Settings) -> dict[str, float]:
    """Return the samples by name and labels, as in the text."""
    lines = host_metrics.text_of(host_metrics.samples(settings)).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def failed(found: dict[str, float]) -> list[str]:
    """Return the parts that failed."""
    parts = {re.sub(r'.*part="(.*)".*', r"\1", name): value for name, value in found.items() if "part=" in name}
    assert set(parts) == {part.__name__ for part in host_metrics.PARTS}
    return [name for name, value in parts.items() if value]


def test_a_host_without_gateway_gpu_and_ollama_has_no_such_metric_and_no_failure(settings: Settings) -> None:
    found = seen(settings)
    assert failed(found) == []
    assert not [name for name in found if name.startswith(("llm_gpu", "llm_certificate", "llm_ollama"))]


def test_the_end_of_the_certificate_is_that_of_the_served_one(settings: Settings, new_gateway: NewGateway) -> None:
    gateway = new_gateway()
    places = gateway.places
    found = seen({**settings, "admin_socket": places.admin_socket, "certificate": places.certificate})
    served = x509.load_pem_x509_certificate(Path(places.certificate).read_bytes())
    assert found["llm_certificate_expires_seconds"] == served.not_valid_after_utc.timestamp()
    assert datetime.now(UTC).timestamp() < found["llm_certificate_expires_seconds"]
    assert failed(found) == []


def test_the_journal_only_grows(settings: Settings) -> None:
    machine = Path(settings["journal"]) / "machine"
    machine.mkdir()
    (machine / "system.journal").write_bytes(b"x" * 100_000)
    grown = "llm_journal_written_bytes_total"
    assert seen(settings)[grown] == 0, "what was there before does not count"
    with (machine / "system.journal").open("ab") as file:
        file.write(b"x" * 200_000)
    first = seen(settings)[grown]
    assert 150_000 < first < 300_000
    # journald archives a full file under another name, begins a new one, and removes old ones.
    (machine / "system.journal").rename(machine / "system@1.journal")
    (machine / "system.journal").write_bytes(b"x" * 50_000)
    second = seen(settings)[grown]
    assert 40_000 < second - first < 100_000
    (machine / "system@1.journal").unlink()
    assert seen(settings)[grown] == second


GPU_CASES: dict[str, tuple[str, dict[str, float]]] = {
    "two": (
        "0, 1024, 23034, 5\n1, 512, 23034, 100\n",
        {
            'llm_gpu_memory_used_bytes{gpu="0"}': 1024 * 1024**2,
            'llm_gpu_memory_total_bytes{gpu="1"}': 23034 * 1024**2,
            'llm_gpu_busy_ratio{gpu="0"}': 0.05,
            'llm_gpu_busy_ratio{gpu="1"}': 1.0,
        },
    ),
    "one that knows no load": (
        "0, 1024, 23034, [N/A]\n",
        {'llm_gpu_memory_used_bytes{gpu="0"}': 1024 * 1024**2},
    ),
}


@pytest.mark.parametrize(("said", "expected"), GPU_CASES.values(), ids=GPU_CASES)
def test_gpus(
    settings: Settings, said: str, expected: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _nvidia_smi(tmp_path, f"cat <<'END'\n{said}END\n", monkeypatch)
    found = seen(settings)
    assert {name: found.get(name) for name in expected} == pytest.approx(expected)
    assert sum("busy_ratio" in name for name in found) == sum("busy_ratio" in name for name in expected)


def test_a_broken_part_is_counted_and_the_others_stay(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _nvidia_smi(tmp_path, "exit 9\n", monkeypatch)
    found = seen({**settings, "ollama_port": 1})
    assert failed(found) == ["gpus", "ollama"]
    assert "llm_journal_bytes" in found
    assert "gpus: CalledProcessError" in capfd.readouterr().err


def _nvidia_smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_a_notice(settings: Settings) -> None:
    assert seen(settings)["llm_spot_notice"] == 0
    Path(settings["notice"]).write_text("{}")
    assert seen(settings)["llm_spot_notice"] == 1


@pytest.fixture
def ollama() -> Iterator[Callable[[Any], int]]:
    """A factory of a server that answers /api/ps; returns its port."""
    servers: list[HTTPServer] = []

    def serve(answer: Any) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert self.path == "/api/ps"
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return int(servers[-1].server_address[1])

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_ollamas_models_in_memory(settings: Settings, ollama: Callable[[Any], int]) -> None:
    loaded = {"models": [{"name": "tiny:latest", "size": 5000, "size_vram": 2000}]}
    found = seen({**settings, "ollama_port": ollama(loaded)})
    assert found['llm_ollama_loaded_bytes{model="tiny:latest"}'] == 5000
    assert found['llm_ollama_gpu_bytes{model="tiny:latest"}'] == 2000
    assert failed(found) == []


def test_an_ollama_without_a_loaded_model(settings: Settings, ollama: Callable[[Any], int]) -> None:
    found = seen({**settings, "ollama_port": ollama({"models": None})})
    assert failed(found) == []
    assert not [name for name in found if name.startswith("llm_ollama")]


def test_promtool_accepts_the_file_and_it_is_readable_to_the_exporter(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    host_metrics.main(str(tmp_path / "settings.json"))
    file = Path(settings["folder"]) / host_metrics.METRICS
    assert file.stat().st_mode & 0o777 == 0o644
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=file.read_text(), capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if "no help text" not in line]
    assert complaints == []
    assert sorted(path.name for path in Path(settings["folder"]).iterdir()) == ["journal.json", "llm-host.prom"]
