"""The same work on several hosts at once, the results as they come. Does not know what the work is."""

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
    """Start at once; yield each host with what `work` returned or the DeployError that it raised, as they end.

    At most `at_once` run at the same time. Any other exception is our bug and is raised again after the last host, so
    that it hides no other host's result. Ctrl-C leaves the generator at once: the threads are daemons, and the
    process's end closes their connections.
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
    """The hosts that failed, each told as it ends; the only host's error is the command's own, for `raise_any`."""

    def __init__(self, hosts: Sequence[HostRecord], tell: Callable[[str, DeployError], None]) -> None:
        self._count = len(hosts)
        self._tell = tell
        self.errors: dict[str, DeployError | None] = {}
        """By the host's name; none where the lines before have told why."""

    def add(self, name: str, error: DeployError | None) -> None:
        """Take in that a host failed; without an error when the lines before have told why."""
        self.errors[name] = error
        if error is not None and self._count > 1:
            self._tell(name, error)

    def sift(self, ends: Iterator[tuple[HostRecord, Result | DeployError]]) -> Iterator[tuple[HostRecord, Result]]:
        """Yield the hosts that did not fail with their results, as they end."""
        for host, result in ends:
            if isinstance(result, DeployError):
                self.add(host.name, result)
            else:
                yield host, result

    def raise_any(self, *, hint: str) -> None:
        """Raise that hosts failed, when some did."""
        raise_failures(self.errors, self._count, hint=hint)


def raise_failures(failed: Mapping[str, DeployError | None], hosts: int, *, hint: str) -> None:
    """Raise that hosts failed, when some did; nothing is lost when the only host's own error is raised instead.

    `failed` has the hosts by name, with none where the lines above have told why.
    """
    if hosts == 1 and (only := next(iter(failed.values()), None)) is not None:
        raise only
    if failed:
        raise HostError(f"{len(failed)} of {hosts} hosts failed: {', '.join(failed)}", hint=hint)
