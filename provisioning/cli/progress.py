"""Prints the progress of hosts on stderr, line by line. Each line starts with the host's name.

On a terminal the bottom line shows the current steps; in a log a long step prints a line every LOG_EVERY_S seconds.
Holds no results.
"""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from textwrap import shorten
from typing import TextIO

from core.console import plain, show
from core.errors import DeployError
from provisioning.converge.result import HostResult, Outcome, Progress

LOG_EVERY_S = 15.0
DETAIL_LINES = 20
"""Most lines shown of a failed program's output. Together with the other lines they fit on one screen."""

LONGEST_CHANGE = 100
"""Characters shown of a change: a command or a list of files may be long, and provision.json has all of it."""

CLEAR_LINE = "\r\x1b[K"
MARKS = {"changed": "+", "failed": "✗", "skipped": "-"}


class ProgressPrinter:
    """Prints events of several hosts, from several threads, without mixing their lines.

    A context manager: at its end, also by Ctrl-C, it clears the bottom line and ignores threads that still run.
    """

    def __init__(
        self, hosts: Sequence[str], *, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._width = max(map(len, hosts), default=0)
        self._out = out or sys.stderr
        self._clock = clock
        self._live = self._out.isatty()
        self._lock = threading.Lock()
        self._silent = False
        self._under_way: dict[str, str] = {}
        self._began: dict[tuple[str, str], float] = {}
        """When the first event of a host's resource came."""
        self._told_at: dict[str, float] = {}

    def __enter__(self) -> "ProgressPrinter":
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            if self._live:
                self._write(CLEAR_LINE)
            self._silent = True

    def event(self, host: str, event: Outcome | Progress) -> None:
        """Print one event; a resource that needed no change gets no line."""
        with self._lock:
            if isinstance(event, Progress):
                self._progress(host, event)
                return
            self._under_way.pop(host, None)
            if event.status in MARKS:
                self._line(host, outcome_line(event))
            self._redraw()

    def progress_only(self, host: str, event: Outcome | Progress) -> None:
        """Print progress but no outcome, for a run that prints all outcomes at the end."""
        if isinstance(event, Progress):
            self.event(host, event)

    def say(self, host: str, text: str) -> None:
        """Print text about a host, each line with the host's name."""
        with self._lock:
            self._under_way.pop(host, None)
            for line in text.splitlines():
                self._line(host, line)
            self._redraw()

    def aside(self, text: str) -> None:
        """Print data on stdout, with the terminal's bottom line cleared first."""
        with self._lock:
            if self._live:
                self._write(CLEAR_LINE)
            show(text)
            self._redraw()

    def _progress(self, host: str, event: Progress) -> None:
        now = self._clock()
        elapsed_s = now - self._began.setdefault((host, event.id), now)
        text = f"{progress_line(event)} ({elapsed_s:.0f} s)"
        self._under_way[host] = text
        if self._live:
            self._redraw()
        elif now - self._told_at.setdefault(host, now) >= LOG_EVERY_S:
            self._line(host, text)

    def _line(self, host: str, text: str) -> None:
        self._told_at[host] = self._clock()
        start = CLEAR_LINE if self._live else ""
        self._write(f"{start}{host:<{self._width}}  {plain(text)}\n")

    def _redraw(self) -> None:
        """Rewrite the bottom line, cut to the terminal's width so that it never wraps."""
        if not self._live:
            return
        parts = [plain(f"{host}: {text}").replace("\n", " ") for host, text in self._under_way.items()]
        columns = shutil.get_terminal_size().columns
        self._write(CLEAR_LINE + "   ".join(parts)[: columns - 1])

    def _write(self, text: str) -> None:
        if not self._silent:
            self._out.write(text)
            self._out.flush()


def outcome_line(outcome: Outcome) -> str:
    """Return the line for one resource's outcome."""
    done = shorten("; ".join(outcome.changes), LONGEST_CHANGE, placeholder=" …")
    words = outcome.error if outcome.status in ("failed", "skipped") else done
    took = f" ({outcome.seconds:.1f} s)" if outcome.seconds >= 1 else ""
    return f"{MARKS[outcome.status]} {outcome.id}: {words}{took}"


def progress_line(progress: Progress) -> str:
    """Return the line for the progress of a long change."""
    share = f"{progress.fraction:.0%} " if progress.fraction is not None else ""
    return f"… {progress.id}: {share}{progress.text or 'runs'}"


def error_line(error: DeployError) -> str:
    """Return why a host failed, for a line that starts with the host's name."""
    return f"✗ {error.what}; {error.hint}" if error.hint else f"✗ {error.what}"


def failure_detail(outcome: Outcome) -> str:
    """Return the end of the failed program's output, for the lines below the outcome."""
    lines = outcome.detail.strip().splitlines()
    left_out = [f"    … {len(lines) - DETAIL_LINES} earlier lines"] if len(lines) > DETAIL_LINES else []
    return "\n".join([*left_out, *(f"    {line}" for line in lines[-DETAIL_LINES:])])


def plan_text(result: HostResult, *, full: bool = False) -> str:
    """Return what would change on a host, files with their diffs; a new file by its length only, unless `full`."""
    blocks = [f"{result.host}: {len(result.changed)} to change, {len(result.unchanged)} unchanged"]
    for outcome in (*result.changed, *result.failed, *result.skipped):
        lines = outcome.diff.splitlines()
        in_short = is_new_file(outcome) and not full
        length = f", {sum(line.startswith('+') for line in lines[2:])} lines" if in_short else ""
        blocks.append(f"  {outcome_line(outcome)}{length}")
        blocks += [] if in_short else [f"      {line}" for line in lines]
    return "\n".join(blocks)


def is_new_file(outcome: Outcome) -> bool:
    """Return whether the outcome creates a file."""
    return outcome.diff.startswith("--- /dev/null\n")


def counts(result: HostResult, *, would: bool = False) -> str:
    """Return one line of numbers about a host's run."""
    numbers = [f"{len(result.changed)} {'to change' if would else 'changed'}", f"{len(result.unchanged)} unchanged"]
    numbers += [f"{len(result.failed)} failed"] if result.failed else []
    numbers += [f"{len(result.skipped)} skipped"] if result.skipped else []
    trips = f"{result.round_trips} round trip{'s' if result.round_trips != 1 else ''}"
    return f"{'✓' if result.ok else '✗'} {', '.join(numbers)} in {result.seconds:.1f} s, {trips}"
