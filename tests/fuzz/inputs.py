"""Unexpected input: odd values, good files with an odd part, and text that is nearly YAML or JSON."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from infra.config.reader import DEPLOYMENT_KEY

Path = tuple[str | int, ...]

ODD_TEXT = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", " ", "\x00", "\x1b[31m", "\n", "a\nb", "~", "null", "NaN", "../..", "/dev/zero", "-", "--help", "*", "&a"]
    ),
    st.sampled_from(["é", "日本", "\u202e", "\ufeff", "a" * 5000, "1" * 5000, "1e400", "0x" + "f" * 4000, "१२", "²"]),
)
ODD_NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**63, 10**40, 10**400, -(10**400)]),
    st.floats(allow_nan=True, allow_infinity=True),
)
ODD_LEAVES = st.one_of(st.none(), st.booleans(), ODD_NUMBERS, ODD_TEXT)
ODD = st.recursive(
    ODD_LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(ODD_TEXT, inner, max_size=4)),
    max_leaves=8,
)

PIECES = st.sampled_from(
    [
        "a", "b", ": ", "\n", "  ", "\t", "- ", "[", "]", "{", "}", ",", "&a ", "*a", "<<: ", "? ", "| ", "> ", "'",
        '"', "#", "%YAML 1.2\n", "---\n", "...\n", "!!int ", "!!binary ", "!", "@", "`", "0", "1_0", "9" * 50, "e9",
        "~", "true", "2026-01-01", "\\", "\\x", "\u2028", "\x85", "\x00", "\ufeff", "=", "config", DEPLOYMENT_KEY,
    ]
)  # fmt: skip
NEARLY_YAML = st.one_of(st.lists(PIECES, max_size=40).map("".join), st.text(max_size=60)).map(
    lambda text: text.encode(errors="surrogatepass")
)
ANY_BYTES = st.one_of(NEARLY_YAML, st.binary(max_size=80))


def paths(value: Any, above: Path = ()) -> Iterator[Path]:
    """Yield the paths of all parts of `value`, the whole first."""
    yield above
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from paths(each, (*above, key))


def changed(good: Any) -> st.SearchStrategy[Any]:
    """Return good values with one to three parts replaced, removed or added."""
    places = list(paths(good))
    step = st.tuples(st.sampled_from(places), st.sampled_from(["replace", "remove", "add"]), ODD_TEXT, ODD)
    return st.lists(step, min_size=1, max_size=3).map(lambda steps: _changed(good, steps))


def _changed(good: Any, steps: list[tuple[Path, str, str, Any]]) -> Any:
    value = copy.deepcopy(good)
    for path, what, key, odd in steps:
        value = _with(value, path, what, key, odd)
    return value


def _with(value: Any, path: Path, what: str, key: str, odd: Any) -> Any:
    """Return `value` with one part changed; unchanged if an earlier step has removed that part."""
    if path:
        head: Any
        head, *rest = path
        if (isinstance(value, dict) and head in value) or (isinstance(value, list) and head in range(len(value))):
            if not rest and what == "remove":
                del value[head]
            else:
                value[head] = _with(value[head], tuple(rest), what, key, odd)
        return value
    if what == "add" and isinstance(value, dict):
        return {**value, key: odd}
    if what == "add" and isinstance(value, list):
        return [*value, odd]
    return odd


def as_json(value: Any) -> bytes:
    """Return `value` as JSON, with what Python's own writer allows beyond it: NaN, lone surrogates."""
    return json.dumps(value).encode()
