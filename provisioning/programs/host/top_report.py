"""What `make top` shows of one host, as JSON: HAProxy's servers, the access log's newest lines, the engine's counters.

    top_report.py QUESTION        JSON, see the keys below

Reads the gateway's admin socket, the journal and metrics on loopback; it needs no Prometheus and changes nothing.
"""

from __future__ import annotations

import csv
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

ANSWER_S = 3.0
MOST_LINES = 5000
"""Newest lines of the access log that are read; more would take longer than a refresh."""

REQUEST_FIELDS = ("class", "model", "adapter", "decision", "reason", "status", "queue_ms", "first_byte_ms")

SAMPLE = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

ENGINE_METRICS = {
    "running": "vllm:num_requests_running",
    "waiting": "vllm:num_requests_waiting",
    "prompt_tokens": "vllm:prompt_tokens_total",
    "answer_tokens": "vllm:generation_tokens_total",
}
ADAPTERS = "vllm:lora_requests_info"
WAITING = "llm_waiting_requests"
CACHE = "vllm:kv_cache_usage_perc"

NO_HOST = "_none"
"""The server of a pool with which the gateway answers 503 when no host is left."""

OVERFLOW_METRICS = {
    "spent_usd": "llm_overflow_spent_usd",
    "cap_usd": "llm_overflow_cap_usd",
    "requests": "llm_overflow_requests_total",
    "failed": "llm_overflow_failed_total",
    "failed_in_row": "llm_overflow_failed_in_row",
}


def servers(path: str, pools: list[str]) -> dict[str, Any] | None:
    """Return HAProxy's servers of `pools`, and how many requests wait in each pool; None if no gateway runs."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        connection.sendall(b"show stat\n")
        rows = [row for row in csv.DictReader(connection.makefile(encoding="utf-8")) if row["# pxname"] in pools]
    found = [
        {
            "pool": row["# pxname"],
            "name": row["svname"],
            "state": row["status"],
            "running": int(row["scur"]),
            "places": int(row["slim"] or 0),
        }
        for row in rows
        if row["svname"] not in ("BACKEND", NO_HOST)
    ]
    # A request waits in the pool's queue, or in that of one server.
    waiting = {pool: sum(int(row["qcur"] or 0) for row in rows if row["# pxname"] == pool) for pool in pools}
    return {"servers": found, "waiting": waiting}


def waiting(url: str) -> list[dict[str, Any]] | None:
    """Return how many requests wait, by pool and class; None if the gateway does not say it."""
    try:
        samples = metrics(url)
    except (OSError, HTTPException):
        return None  # no gateway runs, or it is older than these metrics
    return [{**labels, "requests": int(value)} for name, labels, value in samples if name == WAITING]


def requests(unit: str, window_s: int) -> list[dict[str, Any]] | None:
    """Return the requests to the engine that ended within `window_s`, without who sent them."""
    argv = ["journalctl", "-q", "--no-pager", "-o", "cat", "-u", unit, f"--since=-{window_s}s", "-n", str(MOST_LINES)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=30)
    found = []
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        if line.startswith("{"):
            try:
                seen = json.loads(line)
            except ValueError:
                continue
            if seen.get("method") == "POST":
                found.append({**{name: seen.get(name) for name in REQUEST_FIELDS}, **first_token(seen)})
    return found


def first_token(line: dict[str, Any]) -> dict[str, int]:
    """Return the time to the first token; -1 if there was none, or if the gateway is older than this field."""
    said = line.get("first_token_ms", "-")
    return {"first_token_ms": int(said) if said.isdigit() else -1}


def metrics(url: str, key: str = "") -> list[tuple[str, dict[str, str], float]]:
    """Return the samples of metrics in Prometheus's format."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for loopback
    request = urllib.request.Request(url, headers={"Authorization": "Bearer " + key})  # noqa: S310  # loopback
    with opener.open(request, timeout=ANSWER_S) as answer:
        text = answer.read().decode("utf-8", "replace")
    found = []
    for line in text.splitlines():
        match = SAMPLE.match(line)
        if match:
            found.append((match[1], dict(LABEL.findall(match[2] or "")), float(match[3])))
    return found


def engine(kind: str, port: int, environment: str) -> dict[str, Any] | None:
    """Return the engine's counters; None if this host has no engine that answers. Ollama has none."""
    if kind != "vllm":
        return None
    try:
        lines = Path(environment).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None  # no engine here
    key = dict(line.partition("=")[::2] for line in lines).get("VLLM_API_KEY", "")
    try:
        samples = metrics(f"http://127.0.0.1:{port}/metrics", key)
    except (OSError, HTTPException):
        return None
    seen: dict[str, Any] = {
        name: sum(value for each, _, value in samples if each == metric) for name, metric in ENGINE_METRICS.items()
    }
    seen["cache"] = max((value for each, _, value in samples if each == CACHE), default=None)
    # vLLM keeps a series for each combination that it ever had; the newest has the largest value, a time.
    combinations = sorted(
        (at, labels.get("running_lora_adapters", "")) for each, labels, at in samples if each == ADAPTERS
    )
    seen["adapters"] = sorted(filter(None, combinations[-1][1].split(","))) if combinations else []
    return seen


def overflow(port: int) -> dict[str, Any] | None:
    """Return what was spent at each provider; None if there is no overflow service."""
    try:
        samples = metrics(f"http://127.0.0.1:{port}/metrics")
    except (OSError, HTTPException):
        return None
    return {
        name: [{**labels, "value": value} for each, labels, value in samples if each == metric]
        for name, metric in OVERFLOW_METRICS.items()
    }


def main(question: str) -> None:
    """Print the report."""
    asked = json.loads(question)
    sections: dict[str, Callable[[], Any]] = {
        "gateway": lambda: servers(asked["gateway_socket"], asked["pools"]),
        "waiting": lambda: waiting(asked["queue_metrics"]) if asked["has_gateway"] else None,
        "requests": lambda: requests(asked["gateway_unit"], asked["window_s"]) if asked["has_gateway"] else None,
        "engine": lambda: engine(asked["engine"], asked["engine_port"], asked["engine_env"]),
        "overflow": lambda: overflow(asked["overflow_port"]),
        "monotonic": time.monotonic,
    }
    report: dict[str, Any] = {}
    unseen: dict[str, str] = {}
    for name, look in sections.items():
        try:
            report[name] = look()
        except Exception as error:  # report the rest, whatever is broken
            report[name] = None
            unseen[name] = f"{type(error).__name__}: {error}"
    print(json.dumps({**report, "unseen": unseen}))


if __name__ == "__main__":
    main(*sys.argv[1:])
