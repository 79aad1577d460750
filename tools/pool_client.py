"""The demo's clients of a pool: its endpoint as an application knows it, and the commands for hosts."""

import json
import ssl
import subprocess
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.paths import CHECKOUT, outputs_file

TIMEOUT_S = 60


@dataclass(frozen=True)
class Api:
    """The stack's endpoint, as a client knows it."""

    url: str
    model: str
    key: str
    trust: ssl.SSLContext

    def stream(self, prompt: str, max_tokens: int) -> Any:
        """Return the open stream of a completion. Raises OSError for an error answer too."""
        more = {"prompt": prompt, "max_tokens": max_tokens, "stream": True, "ignore_eos": True}
        return self._post("completions", more, {})

    def chat(self, text: str, max_tokens: int, headers: Mapping[str, str]) -> Any:
        """Return the open answer to a chat with one message. Raises OSError for an error answer too."""
        return self._post(
            "chat/completions", {"messages": [{"role": "user", "content": text}], "max_tokens": max_tokens}, headers
        )

    def _post(self, path: str, fields: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
        own = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        body = json.dumps({"model": self.model, **fields}).encode()
        request = urllib.request.Request(f"{self.url}/v1/{path}", body, {**own, **headers})  # noqa: S310
        return urllib.request.urlopen(request, context=self.trust, timeout=TIMEOUT_S)  # noqa: S310  # always https


def api_of(stack: str, client: str = "") -> Api:
    """Return the endpoint of `stack`, which `provision` wrote, with the key of `client` or of the first one."""
    endpoint = json.loads(outputs_file(stack).with_name("endpoint.json").read_text())
    key = json.loads(Path(endpoint["keys_file"]).read_text())[client or endpoint["client"]]
    trust = ssl.create_default_context(cafile=endpoint["ca"])
    return Api(endpoint["url"], endpoint["models"][0], key, trust)


def status(stack: str) -> list[Mapping[str, Any]]:
    """Return what `make status ARGS=--json` prints; also while some hosts do not serve."""
    found: list[Mapping[str, Any]] = json.loads(fab(stack, "status", "--json"))
    return found


def fab(stack: str, task: str, *words: str) -> str:
    """Return the output of a command for hosts; its exit status does not matter."""
    argv = [str(CHECKOUT / ".venv/bin/python"), "-m", "provisioning", task, "--stack", stack, *words]
    done = subprocess.run(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout
