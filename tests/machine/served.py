"""Queries of a served machine: directly to the engine on loopback with its key, without the gateway."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.converge.resources import Resource
from provisioning.roles.host.layout import HAPROXY_ADMIN_SOCKET
from tests.machine.converge_host import remote

TINY = {"kind": "tiny", "name": "llama"}

SERVING: dict[str, Any] = {
    "model": {"name": "tiny", "source": TINY, "context_tokens": 2048},
    "adapters": [
        {"name": "contract", "version": 3, "source": {**TINY, "adapter": "a"}},
        {"name": "summary", "source": {**TINY, "adapter": "b"}},
    ],
    "vllm": {"max_lora_rank": 8, "kv_cache_gib": 0.5, "max_sequences": 4},
    "ready_timeout_s": 600,
    "drain_s": 300,  # longer than 700 tokens take on a loaded machine
}

WITH_KEY = '-H "Authorization: Bearer $(sed -n s/^VLLM_API_KEY=//p /etc/llm/engine.env)"'

STREAM = """
import json, os, sys, urllib.request
key = dict(line.rstrip().split("=", 1) for line in open("/etc/llm/engine.env"))["VLLM_API_KEY"]
request = urllib.request.Request(
    "http://127.0.0.1:8000/v1/completions",
    json.dumps({"model": "contract", "prompt": "The rent", "max_tokens": int(sys.argv[1]), "stream": True}).encode(),
    {"Authorization": "Bearer " + key, "Content-Type": "application/json"},
)
with urllib.request.urlopen(request) as answer:
    for line in answer:
        if line.startswith(b"data: "):
            print(line.decode()[6:].rstrip(), flush=True)
"""

GATEWAY_STATE = f"""
import socket
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect("{HAPROXY_ADMIN_SOCKET}")
    connection.sendall(b"show stat\\n")
    rows = [line.rstrip().split(",") for line in connection.makefile()]
status = rows[0].index("status")
print(*(row[status] for row in rows if row[0] == "main" and row[1] != "BACKEND"))
"""

FUNCTIONS = """
wait_until() { for _ in $(seq 1500); do if eval "$1"; then return; fi; sleep 0.2; done; echo "never: $1" >&2; exit 1; }
state() { systemctl show --value -p ActiveState vllm.service; }
"""


@dataclass(frozen=True)
class Served:
    """A serving machine, and the list of its resources."""

    host: HostRecord
    outputs: StackOutputs
    resources: Sequence[Resource]

    def get(self, path: str, *, key: bool = True) -> tuple[int, str]:
        """Return status and body of a GET to the engine."""
        return self._curl(path, WITH_KEY if key else "")

    def complete(self, model: str, *, max_tokens: int = 12, key: bool = True) -> tuple[int, str]:
        """Return the status of a completion and its text (the body, unless the status is 200)."""
        status, answer = self._complete(model, "What does the lease say?", max_tokens, key=key)
        return status, json.loads(answer)["choices"][0]["text"] if status == 200 else answer

    def answers(self, model: str, prompts: Sequence[str], *, max_tokens: int) -> tuple[str, ...]:
        """Return the likeliest answer to each prompt."""
        status, answer = self._complete(model, list(prompts), max_tokens)
        assert status == 200, answer
        choices = sorted(json.loads(answer)["choices"], key=lambda choice: choice["index"])
        return tuple(choice["text"] for choice in choices)

    def run(self, script: str) -> str:
        """Return the output of a shell script that may use /tmp/stream, /tmp/gateway-state and the functions above."""
        programs = {"stream": STREAM, "gateway-state": GATEWAY_STATE}
        written = "".join(f"cat > /tmp/{name} <<'END'{text}END\n" for name, text in programs.items())
        return remote(self.host, f"set -eu\n{written}{FUNCTIONS}{script}")

    def unit(self, name: str) -> str:
        """Return one of systemd's properties of the engine's unit."""
        return remote(self.host, f"systemctl show --value -p {name} vllm.service").strip()

    def _complete(self, model: str, prompt: str | list[str], max_tokens: int, *, key: bool = True) -> tuple[int, str]:
        body = json.dumps({"model": model, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0})
        return self._curl(
            "/v1/completions", f"{WITH_KEY if key else ''} -H 'Content-Type: application/json' -d '{body}'"
        )

    def _curl(self, path: str, options: str) -> tuple[int, str]:
        said = remote(self.host, f"curl -sS -w '\\n%{{http_code}}' {options} http://127.0.0.1:8000{path}")
        body, _, status = said.rstrip().rpartition("\n")
        return int(status), body
