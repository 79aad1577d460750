"""Helpers of the converge tests: run the list, and check the host without the agent."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.errors import DeployError
from infra.contract.outputs import HostRecord
from provisioning.converge.controller import converge
from provisioning.converge.resources import Resource
from provisioning.converge.result import HostResult, Outcome, Progress
from provisioning.ssh.connection import connect
from provisioning.ssh.remote import stream
from provisioning.ssh.target import SshTarget
from tests.slowness import patient


def remote(host: HostRecord, command: str) -> str:
    """Return what `command` prints, run as root by a shell; it must succeed."""
    with connect(SshTarget.of(host)) as connection:
        return "".join(stream(connection, SshTarget.of(host), ("sh", "-s"), stdin=command))


def reached(host: HostRecord, port: int, path: str, user: str) -> str:
    """Return the status that a port of the host's loopback answers to `user`; 000 if the connection is refused."""
    ask = f"curl -s -m 60 -o /dev/null -w '%{{http_code}}' http://127.0.0.1:{port}{path}"
    return remote(host, f"setpriv --reuid={user} --clear-groups {ask} || true").strip()


@dataclass
class Seen:
    """The result of a run and all its events."""

    result: HostResult
    events: list[Outcome | Progress] = field(default_factory=list)

    @property
    def statuses(self) -> dict[str, str]:
        """Status by id."""
        return {event.id: event.status for event in self.events if isinstance(event, Outcome)}

    def of(self, resource: Resource) -> Outcome:
        """Return the outcome of one resource."""
        return next(e for e in self.events if isinstance(e, Outcome) and e.id == resource.id)


def bring(host: HostRecord, resources: Sequence[Resource], *, dry_run: bool = False) -> Seen:
    """Run the list on the host."""
    events: list[Outcome | Progress] = []
    result = converge(host, resources, dry_run=dry_run, on_event=lambda _, event: events.append(event))
    return Seen(result, events)


class Background:
    """A run in a thread, for tests that do something to it meanwhile."""

    def __init__(self, host: HostRecord, resources: Sequence[Resource]) -> None:
        self.error: DeployError | None = None
        self.seen: Seen | None = None
        self.events: list[Outcome | Progress] = []
        self._thread = threading.Thread(target=self._run, args=(host, resources), daemon=True)
        self._thread.start()

    def _run(self, host: HostRecord, resources: Sequence[Resource]) -> None:
        try:
            result = converge(host, resources, dry_run=False, on_event=lambda _, event: self.events.append(event))
            self.seen = Seen(result, self.events)
        except DeployError as error:
            self.error = error

    def join(self, deadline_s: float = 60) -> None:
        """Wait for the end."""
        self._thread.join(patient(deadline_s))
        assert not self._thread.is_alive()


def moved(host: HostRecord, **fields: Any) -> HostRecord:
    """Return the record with other values: another port, user or key."""
    return host.model_copy(update=fields)


def poll(condition: Callable[[], object], *, deadline_s: float = 30) -> None:
    """Wait until `condition` holds; fail the test if it does not in time."""
    ticks = threading.Event()
    end = time.monotonic() + patient(deadline_s)
    while time.monotonic() < end:
        if condition():
            return
        ticks.wait(0.2)
    raise AssertionError(f"not within {patient(deadline_s):.0f} s")
