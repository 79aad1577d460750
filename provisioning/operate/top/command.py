"""The command `top`: one thread for each host asks again and again, and the screen shows the latest answers."""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from core.console import next_command
from core.errors import HostError
from core.ports import OVERFLOW_METRICS_PORT
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.hosts.inventory import choose, load_to_look
from provisioning.hosts.target import Target
from provisioning.hosts.topology import HostRole, Topology
from provisioning.operate.top.screen import screen
from provisioning.operate.top.values import WINDOW_S, Report, Seen, Top, top
from provisioning.roles.gateway import metrics_paths
from provisioning.roles.gateway.pools import engines_behind
from provisioning.roles.host.layout import ENGINE_ENV, GATEWAY_UNIT, HAPROXY_ADMIN_SOCKET
from provisioning.ssh.connection import connect
from provisioning.ssh.remote import ask_program
from provisioning.ssh.target import SshTarget
from serving.spec.rules import METRICS_PORT

REFRESH_S = 2.0
SILENT_S = 8.0
"""A host that has not answered for so long is shown as silent, without its last numbers."""
DRAW_S = 0.5
ONCE_REFRESH_S = 1.0
ONCE_S = 20.0
"""How long `--once` waits for two answers of each host."""


class Watch:
    """Asks one host in the background, and keeps its last two answers."""

    def __init__(self, outputs: StackOutputs, host: HostRecord, refresh_s: float) -> None:
        self._outputs = outputs
        self._host = host
        self._refresh_s = refresh_s
        self._reports: list[Report] = []
        self._error = ""
        self._since = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def seen(self) -> Seen:
        """Return what is known now."""
        with self._lock:
            silent = time.monotonic() - self._since
            latest, before = ([*self._reports[::-1], None, None])[:2]
            error = self._error
            if not error and silent > SILENT_S:
                error = f"no answer for {silent:.0f} s"
            return Seen(host=self._host.name, latest=latest, before=before, error=error, silent_s=silent)

    def has_rates(self) -> bool:
        """Return whether it has two answers, or an error."""
        with self._lock:
            return len(self._reports) > 1 or bool(self._error)

    def _run(self) -> None:
        """Ask until `end`; connect again after an error."""
        while not self._ended.is_set():
            try:
                with connect(SshTarget.of(self._host)) as connection:
                    while not self._ended.is_set():
                        self._take(ask_program(connection, SshTarget.of(self._host), "host/top_report", self._question))
                        self._ended.wait(self._refresh_s)
            except HostError as error:
                self._fail(str(error))
            except Exception as error:  # a bug in one thread must be seen, and must not stop the other hosts
                self._fail(f"{type(error).__name__}: {error}")
            self._ended.wait(self._refresh_s)

    def end(self) -> None:
        """Ask no more."""
        self._ended.set()

    def _take(self, report: Report) -> None:
        with self._lock:
            self._reports = [*self._reports[-1:], report]
            self._error = ""
            self._since = time.monotonic()

    def _fail(self, why: str) -> None:
        with self._lock:
            self._error = " ".join(why.split())

    @property
    def _question(self) -> str:
        outputs = self._outputs
        topology, serving = Topology(outputs), outputs.serving_of(self._host)
        pools = [engine.pool for engine in engines_behind(outputs, self._host)]
        has_gateway = HostRole.GATEWAY in topology.roles_of(self._host)
        return json.dumps(
            {
                "gateway_socket": HAPROXY_ADMIN_SOCKET,
                "gateway_unit": GATEWAY_UNIT,
                "has_gateway": has_gateway,
                "pools": list(dict.fromkeys(pools)) if has_gateway else [],
                "queue_metrics": f"http://127.0.0.1:{METRICS_PORT}{metrics_paths.QUEUE}",
                "window_s": WINDOW_S,
                "engine": serving.engine if HostRole.ENGINE in topology.roles_of(self._host) else "",
                "engine_port": serving.port,
                "engine_env": ENGINE_ENV,
                "overflow_port": OVERFLOW_METRICS_PORT,
            }
        )


def run(target: Target, *, names: Sequence[str], once: bool, as_json: bool) -> int:
    """Show the view until Ctrl-C, or once; return 0 if every host answered.

    Without a terminal it is shown once.
    """
    outputs = load_to_look(target)
    hosts = choose(outputs, names)
    is_live = sys.stdout.isatty() and not once and not as_json
    watches = [Watch(outputs, host, REFRESH_S if is_live else ONCE_REFRESH_S) for host in hosts]
    console = Console(highlight=False, no_color=None if sys.stdout.isatty() else True)

    def view() -> Top:
        return top(outputs.stack, [watch.seen() for watch in watches])

    if is_live:
        _show_live(console, view)
    else:
        _wait(watches)
    last, seen = view(), [watch.seen() for watch in watches]
    for watch in watches:
        watch.end()
    now = datetime.now(UTC)
    if as_json:
        print(json.dumps({"at": now.isoformat(timespec="seconds"), **last.as_json()}, indent=2))
    else:
        console.print(screen(last, clock=_clock(now), width=console.width))
        next_command(target.command("status"), target.command("logs"))
    return 0 if all(each.latest is not None and not each.error for each in seen) else 1


def _show_live(console: Console, view: Callable[[], Top]) -> None:
    """Draw the view again and again on the terminal's other screen, until Ctrl-C."""
    ticks = threading.Event()
    with contextlib.suppress(KeyboardInterrupt), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            drawn = screen(view(), clock=_clock(datetime.now(UTC)), width=console.width)
            live.update(Group(drawn, Text("Ctrl-C ends", style="dim")), refresh=True)
            ticks.wait(DRAW_S)


def _wait(watches: Sequence[Watch]) -> None:
    """Wait until each host has two answers, from which rates come, or an error."""
    ticks = threading.Event()
    end = time.monotonic() + ONCE_S
    while not all(watch.has_rates() for watch in watches) and time.monotonic() < end:
        ticks.wait(0.05)


def _clock(now: datetime) -> str:
    return f"{now:%H:%M:%S} UTC"
