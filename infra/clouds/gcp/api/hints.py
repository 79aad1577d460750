"""Hints for errors of GCP that the Pulumi engine prints during `up`, where the error itself does not say what to do."""

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
    """Return a hint about an error; an empty string if there is none."""
    return first_hint(HINTS, text)
