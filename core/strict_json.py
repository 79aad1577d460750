"""JSON that a person or another program may have written: whatever is wrong with it is a ValueError."""

import json
from typing import Any


def parse_json(content: str | bytes) -> Any:
    """Return the value. Raises ValueError for what is not JSON in UTF-8, nests too deeply or has a huge number."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nests too deeply") from None


def parse_object(content: str | bytes) -> dict[str, Any]:
    """Return the object. Raises ValueError for everything else."""
    value = parse_json(content)
    if not isinstance(value, dict):
        raise ValueError("is not an object")
    return value
