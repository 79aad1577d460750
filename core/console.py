"""Words for a person, on stderr: steps with their time, and the next sensible command. Data goes to stdout."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """Print one line for a person, at once."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step before it starts and say how long it took, also when it fails."""
    say(f"→ {title}")
    start = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"✗ {title}: stopped after {time.monotonic() - start:.1f} s")
        raise
    say(f"✓ {title}: {time.monotonic() - start:.1f} s")


def next_command(*commands: str) -> None:
    """Name what a user would sensibly run next."""
    say("next: " + "   or   ".join(commands))
