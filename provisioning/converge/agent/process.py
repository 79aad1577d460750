"""Runs other programs, without a shell and with limited output. They end with the agent unless they must finish.

Output goes to a file in memory instead of a pipe: dpkg, for one, must survive the agent's death without a broken pipe.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time

from .events import Cut, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TICK_S = 0.25
TAIL_BYTES = 64 * 1024
KILL_AFTER_S = 10
SHOWN_CHARS = 200


class Process:
    """A running program."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        user: str = "root",
        dies_with_agent: bool = True,
    ) -> None:
        self.argv = tuple(argv)
        self._output = os.memfd_create("output")
        environment = {**os.environ, **(env or {})}
        wrapper = []
        if user != "root":
            wrapper += [f"--reuid={user}", f"--regid={user}", "--init-groups"]
            environment = {**environment, "HOME": os.path.expanduser(f"~{user}"), "USER": user, "LOGNAME": user}
        if dies_with_agent:
            wrapper.append("--pdeathsig=KILL")
        try:
            self._process = subprocess.Popen(
                ["setpriv", *wrapper, "--", *self.argv] if wrapper else list(self.argv),
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:
            os.close(self._output)
            raise Failure(f"{argv[0]} cannot be run on this host: {error.strerror}") from error

    def output(self) -> str:
        """Return the last TAIL_BYTES of the program's output so far, stdout and stderr together."""
        size = os.fstat(self._output).st_size
        start = max(0, size - TAIL_BYTES)
        return os.pread(self._output, size - start, start).decode(errors="replace")

    def last_line(self) -> str:
        """Return the newest line that is not empty."""
        return (self.output().strip().splitlines() or [""])[-1]

    def wait(self, timeout_s: float) -> int | None:
        """Return the exit status, or None if the program still runs after `timeout_s` seconds."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """End the program and its children: SIGTERM first, SIGKILL after KILL_AFTER_S seconds."""
        if self.wait(0) is not None:
            return
        for number, patience_s in ((signal.SIGTERM, KILL_AFTER_S), (signal.SIGKILL, KILL_AFTER_S)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            if self.wait(patience_s) is not None:
                return

    def close(self) -> None:
        """Free the memory that holds the output."""
        os.close(self._output)


def shown(argv: Sequence[str]) -> str:
    """Return a command line as one line of text. An argument may hold a whole script."""
    words = " ".join(" ".join(argv).split())
    return words if len(words) <= SHOWN_CHARS else words[: SHOWN_CHARS - 2] + " …"


class Done:
    """A finished program."""

    def __init__(self, argv: Sequence[str], status: int, output: str) -> None:
        self.argv = tuple(argv)
        self.status = status
        self.output = output

    def must(self, what: str = "") -> Done:
        """Return self; raises Failure with the output if the exit status is not 0."""
        if self.status != 0:
            raise Failure(what or f"`{shown(self.argv)}` ended with status {self.status}", self.output)
        return self


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    user: str = "root",
    timeout_s: float = 60,
    gone: Callable[[], bool] = lambda: False,
    on_tick: Callable[[Process], None] = lambda _: None,
    must_finish: bool = False,
) -> Done:
    """Run `argv` to its end. Raises Failure after `timeout_s` seconds, Cut when `gone` says so.

    With `must_finish`, neither a cut nor the agent's death ends it, because half a package change is worse than a late
    one.
    """
    process = Process(argv, env=env, user=user, dies_with_agent=not must_finish)
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            status = process.wait(TICK_S)
            if status is not None:
                return Done(argv, status, process.output())
            on_tick(process)
            if must_finish:
                continue
            if gone():
                process.end()
                raise Cut()
            if time.monotonic() > deadline:
                process.end()
                raise Failure(f"`{shown(argv)}` did not end within {timeout_s:.0f} s", process.output())
    finally:
        process.close()
