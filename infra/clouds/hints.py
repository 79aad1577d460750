"""Hints for errors that the Pulumi engine repeats from any cloud. Each cloud adds its own."""

import re
from collections.abc import Iterable

Hint = tuple[re.Pattern[str], str]
"""A pattern of the Pulumi engine's output, and what helps."""

LEFT_BEHIND = "run the command again: it first removes the orphans of the interrupted one"
"""Our names contain the stack's random id, so only this stack can have the name."""

TAKEN = "the name is taken: run `make down`, then `make up`, which uses another name"

NOT_VISIBLE_YET = "new resources are not visible everywhere yet: run the command again; it continues"


def first_hint(hints: Iterable[Hint], text: str) -> str:
    """Return the hint of the first pattern found in a text; empty if none is."""
    return next((hint for pattern, hint in hints if pattern.search(text)), "")
