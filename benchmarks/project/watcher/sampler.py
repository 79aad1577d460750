"""Runs on a host with an engine: writes down what its watcher and its HAProxy say. Standard library, Python 3.8.

    python3 - SECONDS AGENT_PORT METRICS_PORT ADMIN_SOCKET ENGINE_PORT

Prints one JSON line for each change, and one with the sums at the end. Changes nothing.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

AGENT_EVERY_S = 0.25
STATES_EVERY_S = 1.0
ANSWER_S = 5.0
NUMBER = re.compile(r"^(\w+(?::\w+)?)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
ADMITTED = Path("/run/llm-watch/admitted")


def agent(port: int) -> str:
    """Return the watcher's answer to HAProxy, or why there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_S) as connection:
            return connection.makefile().read().strip() or "nothing"
    except OSError as error:
        return f"silent # {error}"


def states(path: str) -> dict[str, str]:
    """Return HAProxy's state of each server that is checked, by name."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_S)
        connection.connect(path)
        connection.sendall(b"show stat -1 4 -1\n")
        rows = [line.split(",") for line in connection.makefile().read().lstrip("# ").splitlines() if line]
    names = rows[0]
    found = (dict(zip(names, row)) for row in rows[1:])  # noqa: B905 (Python 3.8)
    return {f"{row['pxname']}/{row['svname']}": row["status"].split(" ")[0] for row in found}


def numbers(url: str) -> dict[str, float]:
    """Return the metrics at `url`, summed over their labels; empty if nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:  # noqa: S310  # loopback
            text = answer.read().decode("utf-8", "replace")
    except OSError:
        return {}
    sums: dict[str, float] = {}
    for name, value in NUMBER.findall(text):
        sums[name] = sums.get(name, 0.0) + float(value)
    return sums


class Sampler:
    """The sums so far."""

    def __init__(self, ports: tuple[int, int, int], admin_socket: str) -> None:
        self.agent_port, self.metrics_port, self.engine_port = ports
        self.admin_socket = admin_socket
        self.began = time.monotonic()
        self.answers: Counter[str] = Counter()
        self.said = ""
        self.states: dict[str, str] = {}
        self.state_changes = 0
        self.admitted = ADMITTED.stat().st_mtime_ns if ADMITTED.exists() else 0
        self.admissions = 0
        self.oldest_look_s = 0.0
        self.running: list[float] = []
        self.first = self.engine()
        self.first_watch = numbers(f"http://127.0.0.1:{self.metrics_port}/metrics")

    def engine(self) -> dict[str, float]:
        """Return the engine's counters."""
        return numbers(f"http://127.0.0.1:{self.engine_port}/metrics")

    def tell(self, what: str, words: str) -> None:
        """Print a change."""
        print(json.dumps({"at_s": round(time.monotonic() - self.began, 1), what: words}), flush=True)

    def ask_agent(self) -> None:
        """Ask the watcher as HAProxy does."""
        line = agent(self.agent_port)
        word = line.split(" ")[0]
        self.answers[word] += 1
        if word != self.said:
            self.tell("agent", line)
        self.said = word

    def ask_others(self) -> None:
        """Ask HAProxy, the watcher's metrics and the engine."""
        now = states(self.admin_socket)
        for name, state in now.items():
            if self.states.get(name, state) != state:
                self.state_changes += 1
                self.tell("haproxy", f"{name} {self.states[name]} -> {state}")
        self.states = now
        admitted = ADMITTED.stat().st_mtime_ns if ADMITTED.exists() else 0
        self.admissions += admitted != self.admitted
        self.admitted = admitted
        watch = numbers(f"http://127.0.0.1:{self.metrics_port}/metrics")
        looked_at = watch.get("llm_watch_last_look_timestamp_seconds")
        if looked_at:
            self.oldest_look_s = max(self.oldest_look_s, time.time() - looked_at)
        engine = self.engine()
        if engine:
            self.running.append(engine.get("vllm:num_requests_running", 0))

    def sums(self) -> dict[str, Any]:
        """Return everything as one value."""
        seconds = time.monotonic() - self.began
        last, watch = self.engine(), numbers(f"http://127.0.0.1:{self.metrics_port}/metrics")
        rates = {
            name: (last.get(f"vllm:{name}_tokens_total", 0) - self.first.get(f"vllm:{name}_tokens_total", 0)) / seconds
            for name in ("prompt", "generation")
        }
        counted = {
            name: int(watch.get(f"llm_watch_{name}_total", 0) - self.first_watch.get(f"llm_watch_{name}_total", 0))
            for name in ("hangs", "restarts")
        }
        return {
            "seconds": round(seconds, 1),
            "answers": dict(self.answers),
            "state_changes": self.state_changes,
            "admissions": self.admissions,
            **counted,
            "oldest_look_s": round(self.oldest_look_s, 2),
            "prompt_tokens_s": round(rates["prompt"], 1),
            "generation_tokens_s": round(rates["generation"], 1),
            "running": dict(sorted(Counter(str(int(each)) for each in self.running).items())),
        }


def main(seconds: str, agent_port: str, metrics_port: str, admin_socket: str, engine_port: str) -> None:
    """Sample for so long."""
    seen = Sampler((int(agent_port), int(metrics_port), int(engine_port)), admin_socket)
    others_at = 0.0
    while time.monotonic() < seen.began + float(seconds):
        seen.ask_agent()
        if time.monotonic() >= others_at:
            others_at = time.monotonic() + STATES_EVERY_S
            seen.ask_others()
        time.sleep(AGENT_EVERY_S)
    print(json.dumps({"sums": seen.sums()}), flush=True)


main(*sys.argv[1:])
