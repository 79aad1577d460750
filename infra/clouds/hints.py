"""What to do about errors that the engine repeats from a cloud: words that hold in every cloud."""

import re
from collections.abc import Iterable

Hint = tuple[re.Pattern[str], str]
"""A pattern of what the engine says, and what helps."""

LEFT_BEHIND = "run it again: it first removes what a command that was cut off has left"
"""Our names hold the stack's random id, so nothing but this stack has the name."""

TAKEN = "somebody else has that name: `make down`, then `make up`, which takes another one"

NOT_VISIBLE_YET = "the cloud does not show everywhere yet what was just made: run it again, which goes on from there"


def first_hint(hints: Iterable[Hint], text: str) -> str:
    """Return the hint of the first pattern that a text has; empty when it has none."""
    return next((hint for pattern, hint in hints if pattern.search(text)), "")
