"""One operation on a stack at a time, and the Pulumi engine that an interrupted operation left running.

The kernel releases the lock when its holder ends. A note beside it names the process of the Pulumi engine. It is
written when the Pulumi engine starts, and removed only when the operation has succeeded. So a note means that the
previous operation was interrupted or failed.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.console import say
from core.errors import DeployError
from core.files import write_atomically
from core.paths import outputs_file, stack_state_dir
from core.processes import Process
from core.waiting.condition import wait_until
from core.waiting.deadline import Deadline

ENGINE_WAIT_S = 300.0
"""How long to wait for a Pulumi engine that outlived its command. It ends when its operation is complete."""

ENGINE_STOP_S = 60.0
"""How long a Pulumi engine may take to end after SIGTERM, before it is killed."""

SWEEP_S = 10.0
POLL_S = 0.1


@dataclass(frozen=True)
class Operation:
    """The right to change one stack, held while the process lives."""

    folder: Path
    interrupted: bool
    """Whether the previous operation was interrupted or failed."""

    def started(self, engine: Process) -> None:
        """Note the process of a Pulumi engine that was just started."""
        write_atomically(_note(self.folder), f"{engine}\n")

    def ended_well(self) -> None:
        """Remove the note: the next operation has nothing to recover."""
        _note(self.folder).unlink(missing_ok=True)


def _note(folder: Path) -> Path:
    return folder / "engine.pid"


def has_unfinished(stack: str) -> bool:
    """Return whether an operation on the stack was interrupted, failed, or is running."""
    return _note(outputs_file(stack).parent).exists()


@contextmanager
def operation(stack: str, *, stop_earlier: bool = False) -> Iterator[Operation]:
    """Lock the stack. Raises DeployError if another command holds it, or an earlier Pulumi engine does not end.

    Waits for a Pulumi engine that outlived its command. With `stop_earlier`, stops it: `down` undoes its work anyway.
    """
    folder = stack_state_dir(stack)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DeployError(
                "another command is working on it", where=f"stack {stack}", hint="wait until it ends"
            ) from None
        note = _note(folder)
        engine = Process.parse(note.read_text(errors="replace")) if note.exists() else None
        if engine is not None:
            say("  the previous command was interrupted or failed; recovering")
            if stop_earlier:
                stop_engine(engine)
            await_engine(engine)
            sweep(engine)
        yield Operation(folder, interrupted=note.exists())


def await_engine(
    engine: Process,
    *,
    deadline_s: float = ENGINE_WAIT_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until a Pulumi engine that outlived its command has ended. Raises DeployError when it does not."""
    if engine.is_running():
        say(f"  its Pulumi engine (process {engine.pid}) is still working; waiting for it")
    wait_until(
        lambda: None if engine.is_running() else True,
        deadline_s=deadline_s,
        late=lambda: DeployError(
            f"still runs after {deadline_s:.0f} s",
            where=f"process {engine.pid}, the Pulumi engine of an earlier command",
            hint=f"end it with `kill {engine.pid}` and run this command again",
        ),
        pause_s=POLL_S,
        clock=clock,
        sleep=sleep,
    )


def stop_engine(
    engine: Process,
    *,
    deadline_s: float = ENGINE_STOP_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Stop a Pulumi engine with SIGTERM, and kill it when that takes longer than `deadline_s`."""
    if not engine.is_running():
        return
    say(f"  stopping the Pulumi engine (process {engine.pid}) after the current step")
    engine.send(signal.SIGTERM)
    end = Deadline.after(deadline_s, clock)
    while engine.is_running():
        if not end.left_s():
            engine.send(signal.SIGKILL)
        sleep(POLL_S)


def sweep(
    engine: Process, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> None:
    """End the children of a Pulumi engine that was killed: its language host and providers would keep running."""
    end = Deadline.after(SWEEP_S, clock)
    number = signal.SIGTERM
    while members := engine.session_members():
        for member in members:
            member.send(number)
        if not end.left_s():
            number = signal.SIGKILL
        sleep(POLL_S)


@contextmanager
def passed_on(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Let `process`, which runs at the user's terminal, handle signals. In the block, they do not end this process.

    A terminal sends Ctrl-C to both processes. Other signals reach only this one, which forwards them.
    """

    def take(number: int, _frame: object) -> None:
        if number != signal.SIGINT or not os.isatty(0):
            process.send_signal(number)

    with contextlib.ExitStack() as restored:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            restored.callback(signal.signal, number, signal.signal(number, take))
        yield


@contextmanager
def forwarding(engine: Process | None) -> Iterator[list[int]]:
    """Forward Ctrl-C and SIGTERM to the Pulumi engine. Yields the list of received signals.

    After the first signal, the Pulumi engine finishes its current step. After the second, it stops at once. After the
    third, it is killed. It gets SIGTERM, never SIGINT: a process that a shell started in the background ignores SIGINT.
    """
    received: list[int] = []

    def take(number: int, _frame: object) -> None:
        received.append(number)
        if len(received) == 1:
            say("\n  stopping after the current step; a second Ctrl-C stops at once and may leave something incomplete")
        if engine is not None:
            engine.send(signal.SIGKILL if len(received) > 2 else signal.SIGTERM)  # noqa: PLR2004

    with contextlib.ExitStack() as restored:
        for number in (signal.SIGINT, signal.SIGTERM):
            restored.callback(signal.signal, number, signal.signal(number, take))
        yield received
