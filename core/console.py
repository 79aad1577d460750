"""Messages for a person, on stderr: steps with their duration, and the next command. Data goes to stdout.

Messages quote hosts, clouds and files, so `plain` makes control characters visible: an escape sequence in an adapter's
name or a journal could move the cursor, rename the window or hide a line.
"""

import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ONCE_VARIABLE = "LLM_DEPLOY_ONCE"
"""Environment variable that names a file. Steps that are needed once per machine append `[title, seconds]` to it,
a JSON line each. If it is not set, nothing is written."""

STILL_EVERY_S = 10.0
"""How often a step that still runs says so. A person takes longer silence for a hang."""

_STEPS = threading.local()

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # all but tab and newline; 0x80 to 0x9f also start escape sequences
    "\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069"  # change the text direction, or break the line
    "\ud800-\udfff]"  # bytes that are not UTF-8
)


def plain(text: str) -> str:
    """Return `text` with control characters as escapes such as `\\x1b`; newlines (also Windows ones) and tabs stay."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text.replace("\r\n", "\n"))


def say(text: str) -> None:
    """Print a message on stderr and flush it."""
    print(plain(text), file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Print data on stdout and flush it."""
    print(plain(text), flush=True)


@contextmanager
def step(title: str, *, once: bool = False) -> Iterator[None]:
    """Print a step's title before it starts, each STILL_EVERY_S that it runs, and its duration when it ends or fails.

    While a step within it runs in the same thread, only that one says so.

    `once`: the result is cached, so this machine does not need the step again.
    """
    say(f"→ {title}")
    start = time.monotonic()
    try:
        with _says_that_it_runs(title, start):
            yield
    except BaseException:
        say(f"✗ {title}: stopped after {time.monotonic() - start:.1f} s")
        raise
    seconds = time.monotonic() - start
    say(f"✓ {title}: {seconds:.1f} s")
    if once and (file := os.environ.get(ONCE_VARIABLE)):
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps([title, round(seconds, 1)]) + "\n")


def _of_this_thread() -> list[threading.Event]:
    """Return the steps that run in this thread, the innermost last."""
    if not hasattr(_STEPS, "running"):
        _STEPS.running = []
    running: list[threading.Event] = _STEPS.running
    return running


@contextmanager
def _says_that_it_runs(title: str, start: float) -> Iterator[None]:
    ended, nested = threading.Event(), _of_this_thread()

    def tell() -> None:
        while not ended.wait(STILL_EVERY_S):
            if nested[-1:] == [ended]:
                say(f"… {title}: runs ({time.monotonic() - start:.0f} s)")

    nested.append(ended)
    teller = threading.Thread(target=tell, name=f"runs: {title}", daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
        nested.remove(ended)


def next_command(*commands: str) -> None:
    """Print the commands that a user is likely to run next."""
    say("next: " + "   or   ".join(commands))
