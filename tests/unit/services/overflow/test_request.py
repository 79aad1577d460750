"""What may be sent to providers, and the bound of its cost."""

import json
import unicodedata
from typing import Any

import pytest

from services.overflow.money import NANO, cost
from services.overflow.request import NotPortableError, most_tokens, parse_request
from services.overflow.settings import Model
from tests.overflows import provider_at

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
HELLO = [{"role": "user", "content": "hello"}]


def parsed(path: str = CHAT, **body: Any) -> Any:
    return parse_request(path, "app", json.dumps({"model": "tiny"} | body).encode(), 100)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"messages": HELLO, "top_k": 4}),
        (CHAT, {"messages": HELLO, "prediction": {"type": "content", "content": "x"}}),
        (CHAT, {"messages": HELLO, "web_search_options": {}}),
        (CHAT, {"messages": HELLO, "tools": [{"type": "web_search"}]}),
        (CHAT, {"messages": HELLO, "tools": {}}),
        (CHAT, {"messages": HELLO, "n": 17}),
        (CHAT, {"messages": HELLO, "n": True}),
        (CHAT, {"messages": HELLO, "max_tokens": 1.5}),
        (CHAT, {"messages": HELLO, "max_tokens": 0}),
        (CHAT, {"messages": HELLO, "max_tokens": "9"}),
        (CHAT, {"messages": HELLO, "stream": "yes"}),
        (CHAT, {"messages": HELLO, "stream_options": {"continuous_usage_stats": True}}),
        (CHAT, {"messages": HELLO, "logprobs": 5}),
        (CHAT, {"messages": []}),
        (CHAT, {}),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {}}]}]}),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}),
        (CHAT, {"messages": [{"role": "user", "content": {"type": "text"}}]}),
        (CHAT, {"messages": [{"content": "no role"}]}),
        (CHAT, {"messages": [{"role": "user", "content": "half \ud800"}]}),
        (COMPLETIONS, {"prompt": [1, 2, 3]}),
        (COMPLETIONS, {"prompt": []}),
        (COMPLETIONS, {"prompt": "x", "best_of": 17}),
        (EMBEDDINGS, {"input": [[1, 2]]}),
    ],
)
def test_keeps_here_what_has_no_bound(path: str, body: dict[str, Any]) -> None:
    with pytest.raises(NotPortableError):
        parsed(path, **body)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"model": 1}', b'{"model": "tiny", "n": NaN}', b"\xff", b"[" * 100_000]
)
def test_keeps_here_what_is_not_a_request(text: bytes) -> None:
    with pytest.raises(NotPortableError):
        parse_request(CHAT, "app", text, 100)


def test_drops_what_tells_who_asks() -> None:
    request = parsed(messages=HELLO, user="alice", metadata={"a": "b"}, store=True, service_tier="priority", seed=1)
    assert request.body == {"model": "tiny", "messages": HELLO, "seed": 1}


@pytest.mark.parametrize(
    ("path", "body", "out"),
    [
        (CHAT, {"messages": HELLO}, 100),
        (CHAT, {"messages": HELLO, "max_tokens": 7}, 7),
        (CHAT, {"messages": HELLO, "max_tokens": 7, "max_completion_tokens": 9}, 9),
        (CHAT, {"messages": HELLO, "max_tokens": 7, "n": 3}, 21),
        (COMPLETIONS, {"prompt": ["a", "b"], "max_tokens": 7, "n": 2, "best_of": 3}, 42),
        (EMBEDDINGS, {"input": ["a", "b"]}, 0),
    ],
)
def test_counts_every_token_of_every_answer(path: str, body: dict[str, Any], out: int) -> None:
    request, provider = parsed(path, **body), provider_at(1, added_tokens=1000)
    prompts = len(body["prompt"]) if isinstance(body.get("prompt"), list) else len(body.get("input", "x"))
    worst = request.worst(provider, Model("m", 3 * NANO, 15 * NANO))
    assert worst.tokens == request.prompt_bytes + 1000 * prompts + out
    assert worst.nano == (request.prompt_bytes + 1000 * prompts) * 3_000 + out * 15_000


@pytest.mark.parametrize(
    "text", ["plain", "한국어 문장", "\ufdfa" * 9, "\u1e9b\u0323", "e\u0301", "\U0001d160", "\x00\x1f", '"\\']
)
def test_no_tokenizer_sees_more_tokens(text: str) -> None:
    """One token is at least one byte, in whichever Unicode form a tokenizer brings the text."""
    longest = max(len(unicodedata.normalize(form, text).encode()) for form in ("NFC", "NFD", "NFKC", "NFKD"))
    assert most_tokens({"messages": [{"role": "user", "content": text}]}) > longest


@pytest.mark.parametrize(
    ("tokens", "price", "nano"), [(1, 1, 1), (1_000_000, 1, 1), (1_000_001, 1, 2), (0, 5, 0), (3, 500_000, 2)]
)
def test_cost_is_rounded_up(tokens: int, price: int, nano: int) -> None:
    assert cost(tokens, price, 0, 0) == cost(0, 0, tokens, price) == nano
