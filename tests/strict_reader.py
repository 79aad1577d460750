"""A second reader of strict JSON, written on Python's own: what strict_json.lua must accept and refuse."""

import json
import math
from typing import Any

MAX_DEPTH = 64
MAX_INTEGER = 2**53 - 1
MAX_NUMBER = 64


def strict_value(text: bytes) -> dict[str, Any]:
    """Return the object in `text`. Raises ValueError for what two parsers may read differently."""
    value = json.loads(
        text.decode(), object_pairs_hook=_object, parse_int=_integer, parse_float=_double, parse_constant=_constant
    )
    if not isinstance(value, dict):
        raise ValueError("not an object")
    _check(value, 1)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER or abs(int(digits)) > MAX_INTEGER:
        raise ValueError("a large integer")
    return int(digits)


def _double(digits: str) -> float:
    if len(digits) > MAX_NUMBER or math.isinf(float(digits)):
        raise ValueError("a large number")
    return float(digits)


def _constant(name: str) -> float:
    raise ValueError(name)


def _check(value: Any, depth: int) -> None:
    """Raise ValueError if `value` nests too deeply or has half a surrogate pair."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            raise ValueError("too deep")
        for each in [*value, *value.values()] if isinstance(value, dict) else value:
            _check(each, depth + 1)
