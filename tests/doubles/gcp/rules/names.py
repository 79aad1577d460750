"""Syntax of names, labels and network tags (RFC 1035 and GCP's own)."""

import re
from typing import Any

from tests.doubles.gcp.refusal import Refusal, invalid

NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
BUCKET = re.compile(r"[a-z0-9][-_.a-z0-9]{1,61}[a-z0-9]")
ACCOUNT = re.compile(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])@.*")
LABEL_KEY = re.compile(r"[a-z][-_a-z0-9]{0,62}")
LABEL_VALUE = re.compile(r"[-_a-z0-9]{0,63}")
MAX_LABELS = 64

_SYNTAX = {"b": BUCKET, "serviceAccounts": ACCOUNT}


def check(path: str, body: dict[str, Any]) -> None:
    """Raise Refusal for a name or labels that GCP does not accept."""
    collection, name = path.split("/")[-2:]
    if not _SYNTAX.get(collection, NAME).fullmatch(name):
        raise invalid("resource.name", f"'{name}'. Must be a match of regex '{NAME.pattern}'")
    labels(body)


def labels(body: dict[str, Any]) -> None:
    """Raise Refusal for labels that GCP does not accept."""
    given = body.get("labels") or {}
    if len(given) > MAX_LABELS:
        raise invalid("labels", f"{len(given)} are more than {MAX_LABELS}")
    for key, value in given.items():
        if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value):
            raise Refusal(400, "invalid", f"Label value '{value}' of key '{key}' violates format constraints.")
