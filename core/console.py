"""Words for a person, on stderr: steps with their time, and the next sensible command. Data goes to stdout.

What hosts, clouds and files say is part of such words, so `plain` makes control characters visible in all of them: an
escape sequence in an adapter's name or a journal would else move the cursor, rename the window or hide a line.
"""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ONCE_VARIABLE = "LLM_DEPLOY_ONCE"
"""Environment variable with the file to which steps that are needed once per machine add `[title, seconds]`, one line
of JSON each. Unset: nobody counts them."""

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # all but tab and newline; 0x80 to 0x9f begin sequences, too
    "\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069"  # turn the direction of what follows, or break the line
    "\ud800-\udfff]"  # bytes that were no UTF-8
)


def plain(text: str) -> str:
    """Return `text` with control characters as `\\x1b` shows one; newlines (also of Windows) and tabs stay."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text.replace("\r\n", "\n"))


def say(text: str) -> None:
    """Print one line for a person, at once."""
    print(plain(text), file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Print data for a person on stdout, at once."""
    print(plain(text), flush=True)


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
