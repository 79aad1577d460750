"""Hints for errors of a cloud that the Pulumi engine repeats: those that hold for every cloud."""

import re
from collections.abc import Iterable

Hint = tuple[re.Pattern[str], str]
"""A pattern of the engine's output, and what helps."""

LEFT_BEHIND = "run it again: it first removes the orphans of an interrupted command"
"""Our names contain the stack's random id, so only this stack can have the name."""

TAKEN = "that name is taken: `make down`, then `make up`, which uses another one"

NOT_VISIBLE_YET = "new resources are not visible everywhere yet: run it again, and it continues"


def first_hint(hints: Iterable[Hint], text: str) -> str:
    """Return the hint of the first pattern found in a text; empty if none is."""
    return next((hint for pattern, hint in hints if pattern.search(text)), "")
