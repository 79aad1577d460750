"""JSON of files from other people: an error of one line if it is too large, too deep, or not JSON."""

from __future__ import annotations

import codecs
import json
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_CONFIG_BYTES = 4 << 20
"""The largest config.json and adapter_config.json of public models have about 100 KB."""

MAX_DIGITS = 20
"""Digits of a number: 64 bits have 20. For longer ones Python needs quadratic time."""

MAX_DIGITS_OF_ENGINES = 100
"""Digits of a number in a file that engines read with Python's json: transformers writes 10**30 for "no limit"."""

MAX_DEPTH = 64

MAX_FLOAT = 1e30
"""Largest scale or factor. A larger one is a mistake, and 1e999 is Infinity."""


class FormatError(ValueError):
    """A file that no engine can read: what is wrong, and what to do."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}; {self.hint}" if self.hint else self.what


def read_json(content: bytes, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Return the value of JSON text. Raises FormatError for anything else, also for NaN and Infinity.

    `pairs` turns the keys and values of an object into a value, like json's object_pairs_hook.
    """
    number = partial(_whole_number, MAX_DIGITS)
    value = _parsed(content, parse_int=number, parse_constant=_refuse_constant, object_pairs_hook=pairs)
    _check(value, MAX_DEPTH)
    return value


def read_as_engines_do(content: bytes) -> Any:
    """Return the value of a file that engines read with Python's json, which accepts NaN, Infinity and any name.

    Like the engines, it raises FormatError for a byte order mark.
    """
    return _parsed(content, parse_int=partial(_whole_number, MAX_DIGITS_OF_ENGINES))


def _parsed(content: bytes, **options: Any) -> Any:
    if content.startswith(codecs.BOM_UTF8):
        raise FormatError("begins with a byte order mark, which no engine reads", "save it as UTF-8 without one")
    try:
        return json.loads(content.decode("utf-8"), **options)
    except UnicodeDecodeError:
        raise FormatError("is not UTF-8 text", "export it again") from None
    except RecursionError:
        raise FormatError("is nested too deeply", "export it again") from None
    except FormatError:
        raise
    except ValueError:
        raise FormatError("is not JSON", "export it again") from None


def read_mapping(content: bytes, read: Callable[[bytes], Any] = read_json) -> dict[str, Any]:
    """Return the JSON object that `read` makes of `content`. Raises FormatError for anything else."""
    if len(content) > MAX_CONFIG_BYTES:
        raise FormatError(f"has more than {MAX_CONFIG_BYTES >> 20} MiB", "export it again")
    value = read(content)
    if not isinstance(value, dict):
        raise FormatError("is not a JSON object", "export it again")
    return value


def _whole_number(most: int, digits: str) -> int:
    if len(digits) > most:
        raise FormatError(f"has a number of {len(digits)} digits", "export it again")
    return int(digits)


def _refuse_constant(word: str) -> Any:
    raise FormatError(f"has {word}, which is not JSON", "export it again")


def _check(value: Any, depth: int) -> None:
    """Raise FormatError if values are nested too deeply, or if a name has control characters."""
    inner: list[Any] = [value]
    for _ in range(depth):
        children: list[Any] = []
        for each in inner:
            if isinstance(each, dict):
                for name in each:
                    if not name.isprintable():
                        raise FormatError(f"has the name {shown(name)}, with control characters", "export it again")
                children += each.values()
            elif isinstance(each, list):
                children += each
        inner = [each for each in children if isinstance(each, (dict, list))]
        if not inner:
            return
    raise FormatError("is nested too deeply", "export it again")


def shown(value: Any, limit: int = 60) -> str:
    """Return a value for a message: one line, no control characters, at most `limit` characters."""
    text = value if isinstance(value, str) and value.isprintable() and value else ascii(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def is_whole_number(value: Any) -> bool:
    """Return whether `value` is an int; JSON's true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether `value` is an int or a finite float; JSON's true and false are not."""
    return is_whole_number(value) or (isinstance(value, float) and abs(value) < MAX_FLOAT)
