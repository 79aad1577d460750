"""The part of the demo that only a pool has: one of its machines dies while clients stream, and comes back.

`provider` adds a provider double, which takes what the pool has no place for. `die` cuts the power of a machine, and
proves that other streams go on, that no new request fails, and that only public data reaches the provider. `back` waits
until the gateway sends requests to every machine again. `alerts` shows which alerts fired meanwhile. `overflow` is not
part of the demo: it sends requests to a stack whose engines you drained. All talk to the endpoint as a client does, and
use the same commands as a person.
"""

import sys
import threading
import time
from collections.abc import Sequence
from http.client import HTTPException

from core.arguments import Parser
from core.console import say, step
from core.errors import DeployError, run_cli
from core.waiting.condition import wait_until
from tools.pool_alerts import show_alerts
from tools.pool_client import TIMEOUT_S, Api, api_of, fab, status
from tools.pool_overflow import add_provider, overflowing, try_overflow

CLIENTS = 6
"""More than one machine has places, so both machines serve some of them."""
STREAM_TOKENS = 900
BEGIN_S = 30
AFTERWARDS_S = 15
"""How long the clients go on after the machine has died."""
BACK_S = 900
"""A model load on a busy computer takes minutes."""
POWER_OFF = "sudo systemd-run --quiet --on-active=1 systemctl --force --force poweroff"
"""A second later the machine ends at once: no service is stopped, no connection is closed."""


class Client:
    """A client that streams one answer after the other in the background."""

    def __init__(self, api: Api, number: int, stop: threading.Event) -> None:
        self.pieces = 0
        self.whole = 0
        self.cut = 0
        """Streams that ended early, after their first piece."""
        self.failed: list[str] = []
        """Requests that got no piece of an answer."""
        self._api, self._number, self._stop = api, number, stop
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            before = self.pieces
            try:
                whole = self._read()
            except (OSError, HTTPException) as error:
                if self.pieces == before:
                    self.failed.append(str(error))
                    continue
                whole = False
            self.whole += whole
            self.cut += not whole

    def _read(self) -> bool:
        """Read one stream; return whether it came to its end."""
        with self._api.stream(f"{self._number}: the contract says", STREAM_TOKENS) as answer:
            for line in answer:
                self.pieces += line.startswith(b'data: {"id"')
                if line.startswith(b"data: [DONE]"):
                    return True
        return False


def die(stack: str) -> int:
    """End one machine while clients stream. Raises DeployError if a request fails before its first token."""
    stop = threading.Event()
    api = api_of(stack)
    clients = [Client(api, number, stop) for number in range(CLIENTS)]
    late = DeployError("the streams did not begin", where="demo", hint=f"see `make logs STACK={stack}`")
    with step("wait until every client gets an answer"):
        wait_until(
            lambda: all(each.pieces for each in clients) or None, deadline_s=BEGIN_S, late=lambda: late, pause_s=0.1
        )
    with overflowing(stack) as overflow:
        running = {host["host"]: host["queue"]["running"] for host in status(stack) if host["engine_wanted"]}
        victim = max(running, key=lambda name: running[name])
        say(f"{CLIENTS} clients stream, one answer after the other; {victim} loses its power")
        fab(stack, "ssh", "--host", victim, "--command", POWER_OFF)
        died, whole_before = time.monotonic(), sum(each.whole for each in clients)
        with step(f"let the clients go on for {AFTERWARDS_S} s or more, until the provider has had requests"):
            time.sleep(AFTERWARDS_S)
            overflow.wait()
        stop.set()
    for each in clients:
        each.thread.join(TIMEOUT_S)
    seconds = time.monotonic() - died
    whole, cut = sum(each.whole for each in clients), sum(each.cut for each in clients)
    failed = [error for each in clients for error in each.failed]
    say(f"{cut} streams ended with the machine; {whole - whole_before} came to their end in the next {seconds:.0f} s")
    say(f"{len(failed)} requests failed before their first token")
    if failed or not cut:
        what = "requests failed" if failed else f"no stream was cut: {victim} served none, or did not die"
        hint = f"see `make logs STACK={stack}`"
        raise DeployError(what, where="demo", hint=hint, detail="\n".join(dict.fromkeys(failed)))
    overflow.prove()
    return 0


def back(stack: str) -> int:
    """Wait until the gateway sends requests to every machine. Raises DeployError if that takes too long."""
    began, states = time.monotonic(), dict[str, str]()

    def all_up() -> bool | None:
        for host in status(stack):
            states.update(host["queue"]["hosts"] if host["queue"] and not host["engine_wanted"] else {})
        return all(state.startswith("UP") for state in states.values()) or None

    with step("wait until the machine's engine has loaded its model and the gateway sends it requests"):
        wait_until(
            all_up,
            deadline_s=BACK_S,
            late=lambda: DeployError(f"not all machines are back: {states}", where="demo"),
            pause_s=2,
        )
    say(f"the gateway sends requests to {', '.join(states)} after {time.monotonic() - began:.0f} s")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one part."""
    parser = Parser(prog="python -m tools.pool_demo", description=__doc__)
    parts = {"provider": add_provider, "die": die, "back": back, "alerts": show_alerts, "overflow": try_overflow}
    parser.add_argument("part", choices=parts)
    parser.add_argument("--stack", required=True)
    options = parser.parse_args(arguments)
    return parts[options.part](options.stack)


if __name__ == "__main__":
    sys.exit(run_cli(main))
