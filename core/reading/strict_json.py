"""JSON from a person or another program: every error is a ValueError."""

import json
from typing import Any


def parse_json(content: str | bytes) -> Any:
    """Return the value. Raises ValueError for anything but UTF-8 JSON, for deep nesting, and for a huge number."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nests too deeply") from None


def parse_object(content: str | bytes) -> dict[str, Any]:
    """Return the object. Raises ValueError if the JSON is invalid or another kind of value."""
    value = parse_json(content)
    if not isinstance(value, dict):
        raise ValueError("is not an object")
    return value
