"""The same work on several hosts at once, the results as they come. Does not know what the work is."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import SimpleQueue
from typing import TypeVar

from core.errors import DeployError, HostError
from infra.outputs import HostRecord

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


def raise_failures(failed: Mapping[str, DeployError | None], hosts: int, *, hint: str) -> None:
    """Raise that hosts failed, when some did; nothing is lost when the only host's own error is raised instead.

    `failed` has the hosts by name, with none where the lines above have told why.
    """
    if hosts == 1 and (only := next(iter(failed.values()), None)) is not None:
        raise only
    if failed:
        raise HostError(f"{len(failed)} of {hosts} hosts failed: {', '.join(failed)}", hint=hint)
