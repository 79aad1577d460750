"""One operation on a stack at a time, and what an operation that was cut off left running.

A lock that the kernel drops with its holder, and beside it a note of the engine's process, written when that starts and
removed only when the operation ended well. A note that is found says that the operation before was cut off.
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
from core.deadline import Deadline
from core.errors import DeployError
from core.files import write_atomically
from core.paths import outputs_file, stack_state_dir
from core.processes import Process
from core.waiting import wait_until

ENGINE_WAIT_S = 300.0
"""How long an engine that outlived its command may take to end: it stops by itself when its operation is done."""

ENGINE_STOP_S = 60.0
"""How long an engine may take to end after it was asked to, before it is killed."""

SWEEP_S = 10.0
POLL_S = 0.1


@dataclass(frozen=True)
class Operation:
    """The right to change one stack, held while the process lives."""

    folder: Path
    interrupted: bool
    """Whether the operation before this one was cut off."""

    def started(self, engine: Process) -> None:
        """Note the process of an engine that was just started."""
        write_atomically(_note(self.folder), f"{engine}\n")

    def ended_well(self) -> None:
        """Forget the engine: nothing is owed to the next operation."""
        _note(self.folder).unlink(missing_ok=True)


def _note(folder: Path) -> Path:
    return folder / "engine.pid"


def has_unfinished(stack: str) -> bool:
    """Return whether an operation on the stack was cut off, failed, or is under way."""
    return _note(outputs_file(stack).parent).exists()


@contextmanager
def operation(stack: str, *, stop_earlier: bool = False) -> Iterator[Operation]:
    """Hold the stack. Raises DeployError when another command holds it, or an earlier one's engine does not end.

    An engine that outlived its command is waited for, or with `stop_earlier` stopped: `down` undoes what it does.
    """
    folder = stack_state_dir(stack)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DeployError(
                "another command is at work on it", where=f"stack {stack}", hint="wait until that ends"
            ) from None
        note = _note(folder)
        engine = Process.parse(note.read_text(errors="replace")) if note.exists() else None
        if engine is not None:
            say("  the command before this one was cut off; recovering")
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
    """Wait until an engine that still works on its own has ended. Raises DeployError when it does not."""
    if engine.is_running():
        say(f"  its engine (process {engine.pid}) is still at work; waiting for it")
    wait_until(
        lambda: None if engine.is_running() else True,
        deadline_s=deadline_s,
        late=lambda: DeployError(
            f"still runs after {deadline_s:.0f} s",
            where=f"process {engine.pid}, the engine of an earlier command",
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
    """End an engine in order, and when it takes longer than `deadline_s`, at once."""
    if not engine.is_running():
        return
    say(f"  stopping its engine (process {engine.pid}) after the step at hand")
    engine.send(signal.SIGTERM)
    end = Deadline.after(deadline_s, clock)
    while engine.is_running():
        if not end.left_s():
            engine.send(signal.SIGKILL)
        sleep(POLL_S)


def sweep(
    engine: Process, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> None:
    """End what an engine that was killed left behind: its language host and providers never notice that it is gone."""
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
    """Leave signals to a process that a person runs at their terminal, and stay until it has ended.

    A terminal sends Ctrl-C to both of us; what others send to us alone is passed on.
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
    """Pass Ctrl-C and SIGTERM on to the engine; yields the list of the signals received.

    The engine finishes the step at hand after the first and gives up after the second. It is sent SIGTERM for both:
    SIGINT stays ignored in a process that a shell started in the background.
    """
    received: list[int] = []

    def take(number: int, _frame: object) -> None:
        received.append(number)
        if len(received) == 1:
            say("\n  stopping after the step at hand; once more stops at once and may leave something half made")
        if engine is not None:
            engine.send(signal.SIGKILL if len(received) > 2 else signal.SIGTERM)  # noqa: PLR2004

    with contextlib.ExitStack() as restored:
        for number in (signal.SIGINT, signal.SIGTERM):
            restored.callback(signal.signal, number, signal.signal(number, take))
        yield received
