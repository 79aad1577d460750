"""The part of the demo that only a pool has: one of its machines dies while clients stream, and comes back.

`die` cuts the power of a machine and proves that the other streams go on and that new requests are answered. `back`
waits until the gateway sends requests to every machine again. Both talk to the endpoint as a client does, and use the
same commands as a person.
"""

import json
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.arguments import Parser
from core.console import say
from core.errors import DeployError, run_cli
from core.paths import CHECKOUT, outputs_file
from core.waiting.condition import wait_until

STREAMS = 6
"""More than one machine has places, so both machines serve some."""
STREAM_TOKENS = 900
STREAMS_BEGIN_S = 30
REQUESTS = 20
"""New requests that are sent after the machine has died."""
TIMEOUT_S = 60
BACK_S = 900
"""A model load on a busy computer takes minutes."""
POWER_OFF = "systemctl --force --force poweroff"
"""The machine ends at once: no service is stopped, no connection is closed."""


@dataclass(frozen=True)
class Api:
    """The stack's endpoint, as a client knows it."""

    url: str
    model: str
    key: str
    trust: ssl.SSLContext

    def open(self, prompt: str, max_tokens: int, *, stream: bool) -> Any:
        """Return the open answer to a completion. Raises OSError for an error answer too."""
        body = {"model": self.model, "prompt": prompt, "max_tokens": max_tokens, "stream": stream, "ignore_eos": True}
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/v1/completions", json.dumps(body).encode(), headers)  # noqa: S310
        return urllib.request.urlopen(request, context=self.trust, timeout=TIMEOUT_S)  # noqa: S310  # always https


def api_of(stack: str) -> Api:
    """Return the endpoint of `stack`, which `provision` wrote."""
    endpoint = json.loads(outputs_file(stack).with_name("endpoint.json").read_text())
    key = json.loads(Path(endpoint["keys_file"]).read_text())[endpoint["client"]]
    trust = ssl.create_default_context(cafile=endpoint["ca"])
    return Api(endpoint["url"], endpoint["models"][0], key, trust)


class Stream:
    """A streamed answer that a client reads in the background."""

    def __init__(self, api: Api, number: int) -> None:
        self.pieces = 0
        self.is_whole = False
        self._api, self._number = api, number
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        try:
            with self._api.open(f"{self._number}: the contract says", STREAM_TOKENS, stream=True) as answer:
                for line in answer:
                    self.pieces += line.startswith(b"data: {")
                    self.is_whole = self.is_whole or line.startswith(b"data: [DONE]")
        except OSError:
            pass  # cut off: `is_whole` says so
        except ValueError:
            pass


def die(stack: str) -> int:
    """End one machine while clients stream. Raises DeployError if more than its own streams end or a request fails."""
    api = api_of(stack)
    streams = [Stream(api, number) for number in range(STREAMS)]
    late = DeployError("the streams did not begin", where="demo", hint=f"see `make logs STACK={stack}`")
    wait_until(
        lambda: all(each.pieces for each in streams) or None,
        deadline_s=STREAMS_BEGIN_S,
        late=lambda: late,
        pause_s=0.1,
    )
    running = {host["host"]: host["queue"]["running"] for host in status(stack) if host["engine_wanted"]}
    victim = max(running, key=lambda name: running[name])
    shown = ", ".join(f"{name} {number}" for name, number in running.items())
    say(f"{STREAMS} clients stream ({shown}); {victim} loses its power")
    fab(stack, "ssh", "--host", victim, "--command", POWER_OFF)
    began, failed = time.monotonic(), []
    for number in range(REQUESTS):
        try:
            with api.open(f"new {number}", 4, stream=False) as answer:
                json.load(answer)
        except (OSError, ValueError) as error:
            failed.append(f"{time.monotonic() - began:.1f} s: {error}")
    seconds = time.monotonic() - began
    for each in streams:
        each.thread.join(TIMEOUT_S)
    whole = sum(each.is_whole for each in streams)
    say(f"{whole} streams came to their end, {STREAMS - whole} ended with the machine")
    say(f"{REQUESTS - len(failed)} of {REQUESTS} new requests were answered within {seconds:.1f} s")
    if failed or whole < STREAMS - running[victim]:
        what = f"{len(failed)} new requests failed, {whole} streams came to their end"
        raise DeployError(what, where="demo", hint=f"see `make logs STACK={stack}`", detail="\n".join(failed))
    return 0


def back(stack: str) -> int:
    """Wait until the gateway sends requests to every machine. Raises DeployError if that takes too long."""
    began, states = time.monotonic(), dict[str, str]()

    def all_up() -> bool | None:
        states.update(*(host["queue"]["hosts"] for host in status(stack) if not host["error"] and host["queue"]))
        return all(state.startswith("UP") for state in states.values()) or None

    wait_until(
        all_up,
        deadline_s=BACK_S,
        late=lambda: DeployError(f"not all machines are back: {states}", where="demo"),
        pause_s=2,
    )
    say(f"the gateway sends requests to {', '.join(states)} after {time.monotonic() - began:.0f} s")
    return 0


def status(stack: str) -> list[Mapping[str, Any]]:
    """Return what `make status ARGS=--json` prints; also while some hosts do not serve."""
    found: list[Mapping[str, Any]] = json.loads(fab(stack, "status", "--json"))
    return found


def fab(stack: str, task: str, *words: str) -> str:
    """Return the output of a command for hosts; its exit status does not matter."""
    argv = [str(CHECKOUT / ".venv/bin/python"), "-m", "provisioning", task, "--stack", stack, *words]
    done = subprocess.run(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one part."""
    parser = Parser(prog="python -m tools.pool_demo", description=__doc__)
    parser.add_argument("part", choices=("die", "back"))
    parser.add_argument("--stack", required=True)
    options = parser.parse_args(arguments)
    return die(options.stack) if options.part == "die" else back(options.stack)


if __name__ == "__main__":
    sys.exit(run_cli(main))
