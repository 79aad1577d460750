"""Words for a person, on stderr: steps with their time, and the next sensible command. Data goes to stdout."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ONCE_VARIABLE = "LLM_DEPLOY_ONCE"
"""Environment variable with the file to which steps that are needed once per machine add `[title, seconds]`, one line
of JSON each. Unset: nobody counts them."""


def say(text: str) -> None:
    """Print one line for a person, at once."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(title: str, *, once: bool = False) -> Iterator[None]:
    """Announce a step before it starts and say how long it took, also when it fails.

    `once`: its result is cached, so a second run on this machine does not repeat it.
    """
    say(f"→ {title}")
    start = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"✗ {title}: stopped after {time.monotonic() - start:.1f} s")
        raise
    seconds = time.monotonic() - start
    say(f"✓ {title}: {seconds:.1f} s")
    if once and (file := os.environ.get(ONCE_VARIABLE)):
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps([title, round(seconds, 1)]) + "\n")


def next_command(*commands: str) -> None:
    """Name what a user would sensibly run next."""
    say("next: " + "   or   ".join(commands))
