"""Runs the same function on several hosts in parallel and yields the results as they come."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import SimpleQueue
from typing import TypeVar

from core.errors import DeployError, HostError
from infra.contract.outputs import HostRecord

Result = TypeVar("Result")


def on_each(
    hosts: Sequence[HostRecord], work: Callable[[HostRecord], Result], *, at_once: int
) -> Iterator[tuple[HostRecord, Result | DeployError]]:
    """Start immediately; yield each host with the result of `work`, or the DeployError that it raised, as they end.

    At most `at_once` run at the same time. Any other exception is a bug and is raised after the last host, so that it
    hides no other host's result. Ctrl-C leaves the generator immediately: the threads are daemons, and the end of the
    process closes their connections.
    """
    waiting = list(reversed(hosts))
    done: SimpleQueue[tuple[HostRecord, Result | BaseException]] = SimpleQueue()

    def worker() -> None:
        while waiting:
            try:
                host = waiting.pop()
            except IndexError:  # another worker was faster
                return
            try:
                done.put((host, work(host)))
            except BaseException as error:
                done.put((host, error))

    for _ in range(min(at_once, len(hosts))):
        threading.Thread(target=worker, daemon=True).start()

    def ends() -> Iterator[tuple[HostRecord, Result | DeployError]]:
        bugs = []
        for _ in hosts:
            host, result = done.get()
            if isinstance(result, BaseException) and not isinstance(result, DeployError):
                bugs.append(result)
            else:
                yield host, result
        if bugs:
            raise bugs[0]

    return ends()


class Failures:
    """The failed hosts. Errors are printed as they come. An error of the only host is raised by `raise_any` instead."""

    def __init__(self, hosts: Sequence[HostRecord], report: Callable[[str, DeployError], None]) -> None:
        self._count = len(hosts)
        self._report = report
        self.errors: dict[str, DeployError | None] = {}
        """By the host's name; None if the reason was printed already."""

    def add(self, name: str, error: DeployError | None) -> None:
        """Add a failed host; `error` is None if the reason was printed already."""
        self.errors[name] = error
        if error is not None and self._count > 1:
            self._report(name, error)

    def sift(self, ends: Iterator[tuple[HostRecord, Result | DeployError]]) -> Iterator[tuple[HostRecord, Result]]:
        """Yield the hosts that succeeded with their results, as they end."""
        for host, result in ends:
            if isinstance(result, DeployError):
                self.add(host.name, result)
            else:
                yield host, result

    def raise_any(self, *, hint: str) -> None:
        """Raise HostError if hosts failed."""
        raise_failures(self.errors, self._count, hint=hint)


def raise_failures(failed: Mapping[str, DeployError | None], hosts: int, *, hint: str) -> None:
    """Raise HostError if hosts failed. If there is only one host, its own error is raised.

    `failed` has the hosts by name; None if the reason was printed already.
    """
    if hosts == 1 and (only := next(iter(failed.values()), None)) is not None:
        raise only
    if failed:
        raise HostError(f"{len(failed)} of {hosts} hosts failed: {', '.join(failed)}", hint=hint)
