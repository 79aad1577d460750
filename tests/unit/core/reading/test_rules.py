"""Masks for secrets, and suggestions for near misses."""

import pytest

from core.reading.rules import HIDDEN, Problem, looks_secret, masked, one_of, twice

SECRET = [
    "hf_QwErTyUiOpAsDf", "sk-abcdefghijklmnop", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "eyJhbGciOiJIUzI1NiJ9.e30.x", "-----BEGIN PRIVATE KEY-----",
    "https://me:hunter2@example.com", "Zm9vYmFyMTIzQUJDZm9vYmFyMTIz", "xoxb-1234567890-abcdef", "AIzaSyA1234567890",
]  # fmt: skip

PLAIN = [
    "LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct", "mistralai/Mistral-7B-Instruct-v0.3", "g2-standard-4", "203.0.113.7/32",
    "0123456789abcdef0123456789abcdef01234567", "n1-standard-8+nvidia-tesla-t4", "vpc-0123456789abcdef0", "hf_token",
    "projects/my-project-123456/global/images/family/ubuntu", "https://llm.example.com:443/v1", "sk", "eyJ",
    "meta-llama/Llama-3.3-70B-Instruct", "Qwen/Qwen3-30B-A3B-Instruct-2507-FP8", "/home/me/.ssh/id_ed25519",
]  # fmt: skip


@pytest.mark.parametrize("text", SECRET)
def test_tokens_look_secret(text: str) -> None:
    """Also in the middle of a sentence."""
    assert looks_secret(text)
    word = text.replace(" ", "-")
    assert masked(f"found {word} here") == f"found {HIDDEN} here"


@pytest.mark.parametrize("text", PLAIN)
def test_names_do_not_look_secret(text: str) -> None:
    """An error must print them, or the user cannot find the wrong value."""
    assert not looks_secret(text)
    assert masked(f"found {text} here") == f"found {text} here"


def test_suggests_the_nearest_word_or_lists_all() -> None:
    """In the order of the list: it may contain numbers."""
    assert one_of(["vllm", "ollama"], "olama") == "did you mean ollama?"
    assert one_of(["1", "8", "16"], "zz") == "write one of 1, 8, 16"


def test_reports_each_duplicate() -> None:
    """With the place of the second one."""
    assert list(twice(["a", "b", "a", "a"], "names")) == [
        Problem("names[2]", "a is given twice", "write it once"),
        Problem("names[3]", "a is given twice", "write it once"),
    ]
    assert list(twice(["a", "b"], "names")) == []
