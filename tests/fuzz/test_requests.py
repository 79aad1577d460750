"""Bodies of requests: what the gateway accepts, every JSON parser reads in the same way."""

import json
import re
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from pydantic_core import from_json

from tests.fuzz.inputs import ANY_BYTES, ODD, ODD_TEXT, changed
from tests.lua import RUNTIMES, json_check
from tests.strict_reader import strict_value

CHECKS = [json_check(version) for version in RUNTIMES]

CHAT: dict[str, Any] = {
    "model": "tiny", "stream": True, "max_tokens": 5, "n": 1, "options": {"num_predict": 3}, "temperature": 0.5,
    "messages": [
        {"role": "system", "content": "너는"},
        {"role": "user", "content": [{"type": "text", "text": "😀\n"}]},
    ],
}  # fmt: skip

TOKENS = st.sampled_from(
    [
        "{", "}", "[", "]", ",", ":", " ", "\n", '"', '"a"', '"a":', '"model":', r'"mod\u0065l":', '"Model":', "1", "0",
        "-", "1.5", "e5", "e400", "01", "9007199254740992", "true", "null", "NaN", "Infinity", "//", "\\", r"\n", r"\u",
        r"\ud83d", r"\ude00", r"\ud800", "한", "\u017f", "\x7f", "\ufeff", '"a":1,', '{"a":1}', "[1,2]", "[[", "]]",
    ]
)  # fmt: skip
NEARLY_JSON = st.lists(TOKENS, max_size=30).map(lambda tokens: ("{" + "".join(tokens) + "}").encode())
VALUES = st.one_of(st.dictionaries(ODD_TEXT, ODD, max_size=5), changed(CHAT))
WRITTEN = st.builds(
    lambda value, ascii_only, indent: json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode(
        errors="surrogatepass"
    ),
    VALUES, st.booleans(), st.sampled_from([None, 1]),
)  # fmt: skip
CUT = st.builds(
    lambda text, start, put, stop: text[:start] + put + text[stop:],
    WRITTEN, st.integers(0, 300), st.binary(max_size=3), st.integers(0, 300),
)  # fmt: skip


def _folds(value: dict[str, Any]) -> bool:
    """Whether `value` has a key that Go takes for another one."""
    known = {"model", "stream", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of", "system"}
    known |= {"instructions", "messages", "prompt", "input", "tools", "options"}
    options = value.get("options")
    keys = [(key, known) for key in value]
    keys += [(key, {"num_predict"}) for key in options] if isinstance(options, dict) else []
    return any(
        key not in names and re.sub("\u212a", "k", re.sub("\u017f", "s", key)).lower() in names for key, names in keys
    )


@given(text=st.one_of(NEARLY_JSON, WRITTEN, CUT, ANY_BYTES))
@example(text=b'{"a":1}')
@example(text=json.dumps(CHAT).encode())
def test_accepted_texts_have_one_reading(text: bytes) -> None:
    try:
        value = strict_value(text)
    except (ValueError, RecursionError):
        value = None
    for check in CHECKS:
        fields, reason = check(text)
        assert (fields is not None) == (value is not None and not _folds(value)), (reason, value)
        if fields is not None and value is not None:
            assert from_json(text, allow_inf_nan=False) == value
            for name in set(fields) - {"prompt_head", "prompt_bytes", "options.num_predict"}:
                assert fields[name].get("value") == (None if isinstance(value[name], list | dict) else value[name])
            if "prompt_bytes" in fields:
                assert 0 < fields["prompt_bytes"] <= len(text)
                assert len(fields["prompt_head"].encode()) <= 256
