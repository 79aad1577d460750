"""Write metrics of this host that no exporter has, for the textfile collector of Prometheus's node exporter.

    host_metrics.py SETTINGS      a file with JSON: folder, admin_socket, certificate, journal, notice, ollama_port

When the gateway's certificate ends, bytes that the journal grew by, GPU memory and load, a notice that the cloud takes
the machine back, the models that Ollama holds in memory. A part that cannot be read is left out, and counted in
`llm_host_metrics_failed`.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from calendar import timegm
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

METRICS = "llm-host.prom"
JOURNAL_STATE = "journal.json"
ANSWER_S = 5.0
GPU_FIELDS = ("index", "memory.used", "memory.total", "utilization.gpu")
MIB = 1024 * 1024
BLOCK = 512

if TYPE_CHECKING:
    Sample = tuple[str, dict[str, str], float]
    """Name, labels and value."""

TYPES = {"llm_journal_written_bytes_total": "counter"}
"""Metrics that are not gauges."""


def certificate(settings: dict[str, Any]) -> Iterator[Sample]:
    """Yield when the certificate ends that HAProxy serves now."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(settings["admin_socket"])
        except (FileNotFoundError, ConnectionRefusedError):
            return  # no gateway runs
        connection.sendall(f"show ssl cert {settings['certificate']}\n".encode())
        lines = connection.makefile(encoding="utf-8").read().splitlines()
    (ends,) = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("notafter:")]
    at = timegm(time.strptime(ends, "%b %d %H:%M:%S %Y GMT"))
    yield "llm_certificate_expires_seconds", {}, float(at)


def journal(settings: dict[str, Any]) -> Iterator[Sample]:
    """Yield how many bytes were added to the journal since the first call. Removed files do not count."""
    state = Path(settings["folder"]) / JOURNAL_STATE
    try:
        before = json.loads(state.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        before = {"written": 0, "files": None}
    files = {}
    for path in Path(settings["journal"]).glob("*/*.journal*"):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue  # removed meanwhile
        # journald renames a full file, so the inode tells which one it is. It allocates ahead, so blocks count.
        files[str(found.st_ino)] = found.st_blocks * BLOCK
    known = before["files"]
    grown = 0 if known is None else sum(max(0, size - known.get(inode, 0)) for inode, size in files.items())
    after = {"written": before["written"] + grown, "files": files}
    replace(state, json.dumps(after), 0o600)
    yield "llm_journal_written_bytes_total", {}, after["written"]
    yield "llm_journal_bytes", {}, sum(files.values())


def gpus(_: dict[str, Any]) -> Iterator[Sample]:
    """Yield memory and load of each GPU."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return
    argv = [program, "--query-gpu=" + ",".join(GPU_FIELDS), "--format=csv,noheader,nounits"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=30, text=True)
    for row in csv.reader(done.stdout.splitlines(), skipinitialspace=True):
        index, used, total, busy = row
        labels = {"gpu": index}
        for name, text, factor in (
            ("llm_gpu_memory_used_bytes", used, float(MIB)),
            ("llm_gpu_memory_total_bytes", total, float(MIB)),
            ("llm_gpu_busy_ratio", busy, 0.01),
        ):
            if text.replace(".", "", 1).isdigit():  # `[N/A]` otherwise
                yield name, labels, float(text) * factor


def notice(settings: dict[str, Any]) -> Iterator[Sample]:
    """Yield whether the cloud takes the machine back."""
    yield "llm_spot_notice", {}, float(Path(settings["notice"]).exists())


def ollama(settings: dict[str, Any]) -> Iterator[Sample]:
    """Yield the models that Ollama holds in memory, and how much of each is in GPU memory. It has no other metrics."""
    if not settings["ollama_port"]:
        return
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for loopback
    with opener.open(f"http://127.0.0.1:{settings['ollama_port']}/api/ps", timeout=ANSWER_S) as answer:
        models = json.load(answer)["models"] or []
    for model in models:
        labels = {"model": model["name"]}
        yield "llm_ollama_loaded_bytes", labels, float(model["size"])
        yield "llm_ollama_gpu_bytes", labels, float(model.get("size_vram", 0))


PARTS = (certificate, journal, gpus, notice, ollama)


def samples(settings: dict[str, Any]) -> list[Sample]:
    """Return all samples; a part that fails is left out and counted."""
    found: list[Sample] = []
    for part in PARTS:
        failed = 0.0
        try:
            found += list(part(settings))
        except Exception as error:  # the other parts still count
            print(f"{part.__name__}: {type(error).__name__}: {error}", file=sys.stderr)
            failed = 1.0
        found.append(("llm_host_metrics_failed", {"part": part.__name__}, failed))
    return found


def text_of(found: list[Sample]) -> str:
    """Return samples in Prometheus's text format."""
    lines = []
    for name in dict.fromkeys(name for name, _, _ in found):
        lines.append(f"# TYPE {name} {TYPES.get(name, 'gauge')}")
        lines += [f"{name}{_labels(labels)} {value!r}" for each, labels, value in found if each == name]
    return "".join(line + "\n" for line in lines)


def _labels(labels: dict[str, str]) -> str:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    return "{" + ",".join(name + "=" + quoted(value) for name, value in labels.items()) + "}" if labels else ""


def replace(path: Path, text: str, mode: int) -> None:
    """Replace a file in one step: the exporter never reads half of one."""
    new = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    new.write_text(text, encoding="utf-8")
    new.chmod(mode)
    new.replace(path)


def main(settings_file: str) -> None:
    """Write the metrics."""
    settings = json.loads(Path(settings_file).read_text(encoding="utf-8"))
    replace(Path(settings["folder"]) / METRICS, text_of(samples(settings)), 0o644)


if __name__ == "__main__":
    main(*sys.argv[1:])
