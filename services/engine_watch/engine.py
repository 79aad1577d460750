"""Asks the engine on loopback: its counters, whether it has work, and one token of a model."""

import json
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

ANSWER_S = 2.0
"""Time limit of the counters."""
TOKEN_S = 120.0
"""Time limit of one token; a full engine answers ours after the others."""
WORK = re.compile(r"^vllm:num_requests_(?:running|waiting)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
MOVES = re.compile(
    r"^vllm:(?:num_requests_(?:running|waiting)|kv_cache_usage_perc|prefix_cache_queries_total|prompt_tokens_total"
    r"|generation_tokens_total|iteration_tokens_total_count|num_preemptions_total)(?:\{[^}]*\})? \S+$",
    re.MULTILINE,
)
"""Lines of vLLM 0.32 that only a step of its core changes. Others also move when a request is refused."""
ESTABLISHED = "01"


@dataclass(frozen=True)
class Answer:
    """What the engine said about itself."""

    kind: str
    """`yes`, `refused` or `silent`, as in `Look`."""
    busy: bool = False
    mark: tuple[str, ...] = ()


class Engine:
    """The engine of this host."""

    def __init__(self, kind: str, port: int, key: str = "") -> None:
        self._kind = kind
        self._port = port
        self._key = key

    @classmethod
    def of_environment(cls, kind: str, port: int) -> "Engine":
        """Return the engine with the key that systemd read for this unit."""
        return cls(kind, port, os.environ.get("VLLM_API_KEY", ""))

    def counters(self) -> Answer:
        """Return vLLM's counters, or that Ollama answers: it has none."""
        try:
            text = self._get("/metrics" if self._kind == "vllm" else "/api/ps", ANSWER_S)
        except ConnectionRefusedError:
            return Answer("refused")
        except (OSError, HTTPException):
            return Answer("silent")
        return read_metrics(text) if self._kind == "vllm" else Answer("yes")

    def token(self, model: str, timeout_s: float = TOKEN_S) -> str:
        """Ask `model` for one token; return why there is none, or an empty string."""
        body = json.dumps({"model": model, "prompt": "Hello", "max_tokens": 1}).encode()
        try:
            said = json.loads(self._get("/v1/completions", timeout_s, body))
        except urllib.error.HTTPError as error:
            return f"HTTP {error.code}"
        except (OSError, HTTPException, ValueError) as error:
            return str(error) or type(error).__name__
        return "" if isinstance(said, dict) and said.get("choices") else "an answer without choices"

    def in_memory(self) -> str:
        """Return the model that Ollama computes with now. A question to another one would load that in its place."""
        try:
            models = json.loads(self._get("/api/ps", ANSWER_S))["models"]
            return str(models[0]["name"]) if models else ""
        except (OSError, HTTPException, ValueError, KeyError, TypeError):
            return ""

    def asked_by_others(self, proc: str = "/proc") -> bool:
        """Return whether somebody holds a connection to the engine: there may be a request that no counter shows."""
        tables = (Path(proc) / "net" / name for name in ("tcp", "tcp6"))
        texts = (table.read_text(encoding="ascii") for table in tables if table.exists())
        return any(connections(text, self._port) for text in texts)

    def _get(self, path: str, timeout_s: float, body: bytes | None = None) -> str:
        """Return the text of an answer. Raises OSError or HTTPException without one."""
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = "Bearer " + self._key
        url = f"http://127.0.0.1:{self._port}{path}"
        request = urllib.request.Request(url, data=body, headers=headers)  # loopback
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for loopback
        try:
            with opener.open(request, timeout=timeout_s) as answer:
                text: str = answer.read().decode("utf-8", "replace")
                return text
        except urllib.error.HTTPError as error:
            error.close()
            raise
        except urllib.error.URLError as error:
            raise error.reason if isinstance(error.reason, OSError) else error from None


def read_metrics(text: str) -> Answer:
    """Return whether vLLM has work, and what changes when its core takes a step."""
    busy = any(float(number) > 0 for number in WORK.findall(text))
    lines = sorted(found.group() for found in MOVES.finditer(text))
    return Answer("yes", busy, tuple(lines))


def connections(table: str, port: int) -> int:
    """Return how many connections to `port` a table such as /proc/net/tcp has."""
    rows = (line.split() for line in table.splitlines()[1:])
    return sum(row[1].endswith(f":{port:04X}") and row[3] == ESTABLISHED for row in rows)
