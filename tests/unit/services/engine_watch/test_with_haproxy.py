"""A real HAProxy, a real watcher and the engine's double: who gets requests, and how soon that changes."""

import dataclasses
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from provisioning.roles.gateway.pools import loopback_pool
from tests.doubles.engine import EngineDouble, running_engine
from tests.gateways import (
    ENGINE_HOST,
    POOL,
    RunningGateway,
    gateway_before,
    gateway_spec,
    vllm_serving,
    wait_for,
)
from tests.watches import RunningWatch, running_watch

WATCHED = ("L7OK", "")
"""HAProxy's word for a watcher that has answered; 2.4.0 has none (59bab6164)."""


@dataclasses.dataclass
class Site:
    """One engine, its watcher, and a gateway."""

    engine: EngineDouble
    watch: RunningWatch
    gateway: RunningGateway

    def server(self, column: str) -> str:
        """Return a column of HAProxy's line about the engine."""
        header, *rows = self.gateway.admin("show stat").removeprefix("# ").strip().splitlines()
        row = next(row.split(",") for row in rows if row.startswith(f"{POOL},{ENGINE_HOST},"))
        return row[header.split(",").index(column)]

    def says(self, reason: str) -> bool:
        """Return whether HAProxy has the watcher's reason; 2.4.0 shows none."""
        return reason in self.server("last_agt") or not self.server("agent_status")

    def until(self, status: str) -> None:
        """Wait until HAProxy has the engine in `status`; `make bench-gateway` measures how long that takes."""
        wait_for(lambda: self.server("status").startswith(status), f"{status}; it is {self.server('status')}")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as running:
        engine = running.enter_context(running_engine())
        watch = running.enter_context(running_watch(tmp_path / "watch", engine.port, "contract@1"))
        spec = gateway_spec()
        pool = loopback_pool(POOL, ENGINE_HOST, vllm_serving(engine.port), spec, watch.agent_port)
        wait_for(lambda: "llm_watch_up 1" in watch.metrics(), "the engine's first token")
        site = Site(engine, watch, running.enter_context(gateway_before(tmp_path, [pool], spec)))
        wait_for(lambda: site.server("agent_status") in WATCHED, "the watcher's first answer")
        yield site


def test_a_stopped_core_is_out_of_rotation_and_comes_back_slowly(site: Site) -> None:
    site.watch.core_is("T")
    site.until("DOWN")
    assert site.says("is stopped by a signal or a debugger")
    site.watch.core_is("S")
    site.until("UP")
    assert int(site.server("weight")) < 60
    assert "llm_watch_hangs_total 1" in site.watch.metrics()


def test_a_hang_without_any_sign_of_its_own(site: Site) -> None:
    """The core sleeps for ever while a client waits: neither /health nor the process says so."""
    site.engine.hold.clear()
    site.engine.running += 1
    site.until("DOWN")
    assert site.says("nothing moves")
    assert site.gateway.ask("GET", "/health").status == 503


def test_a_slow_engine_stays(site: Site) -> None:
    """The core computes in a thread of its own: HAProxy's answers may take a busy computer longer than a hang."""
    site.engine.hold.clear()
    site.engine.running += 1
    ended = threading.Event()

    def compute() -> None:
        ticks = 0
        while not ended.wait(0.1):
            ticks += 20
            site.watch.core_is("S", ticks)

    core = threading.Thread(target=compute)
    core.start()
    try:
        began = time.monotonic()
        while time.monotonic() - began < 6:
            assert site.server("status") == "UP"
    finally:
        ended.set()
        core.join()
        site.engine.hold.set()


def test_a_notice_drains_and_ends_again(site: Site) -> None:
    notice = site.watch.folder / "notice.json"
    notice.write_text('{"kind": "instance-action", "source": "aws", "deadline": 0}')
    site.until("DRAIN")
    notice.unlink()
    site.until("UP")
    (site.watch.folder / "drain").touch()
    site.until("DRAIN")


def test_the_watchers_death_changes_nothing(site: Site) -> None:
    """HAProxy keeps the last state, and the watcher that follows does not take the engine away."""
    site.watch.process.kill()
    site.watch.process.wait()
    before = site.server("chkdown")
    with running_watch(site.watch.folder, site.engine.port, "contract@1", agent_port=site.watch.agent_port) as second:
        wait_for(lambda: "llm_watch_up 1" in second.metrics(), "the next watcher")
        wait_for(lambda: site.server("agent_status") in WATCHED, "its answer")
    assert (site.server("status"), site.server("chkdown")) == ("UP", before)


def test_an_engine_without_a_token_gets_nothing(tmp_path: Path) -> None:
    with running_engine() as engine, running_watch(tmp_path / "watch", engine.port) as watch:
        engine.faults.add("no_choices")
        watch.engine_starts_again()
        wait_for(lambda: "no token from tiny" in watch.metrics(), "the refusal")
        assert "llm_watch_up 0" in watch.metrics()
        engine.faults.clear()
        wait_for(lambda: "llm_watch_up 1" in watch.metrics(), "the token")
