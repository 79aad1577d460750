"""What to do about errors of GCP that the engine repeats during `up`, where that is more than reading them."""

import re

from infra.clouds.hints import LEFT_BEHIND, NOT_VISIBLE_YET, TAKEN, Hint, first_hint

HINTS: tuple[Hint, ...] = (
    (re.compile(r"requested bucket name is not available"), TAKEN),
    (re.compile(r"alreadyExists|already exists|you already own it"), LEFT_BEHIND),
    (re.compile(r"[Ss]ervice account \S+ does not exist|'serviceAccount' was not found"), NOT_VISIBLE_YET),
    (
        re.compile(r"QUOTA_EXCEEDED|quotaExceeded|Quota '\S+' exceeded"),
        "`make preflight` names the quota, and where to ask for more",
    ),
)


def hint_for(text: str) -> str:
    """Return what to do about an error; nothing when its own words say it."""
    return first_hint(HINTS, text)
