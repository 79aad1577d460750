"""Texts that are masked, texts that stay, and what is missed, as a table."""

import time
from pathlib import Path

import pytest
import yaml

from serving.masking import PATTERNS, mask
from tests.slowness import patient

CASES = yaml.safe_load((Path(__file__).parent / "cases/masking.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_mask(case: dict[str, str]) -> None:
    assert mask(case["text"]) == case.get("out", case["text"])


def test_each_pattern_has_a_case() -> None:
    shown = " ".join(case.get("out", "") for case in CASES)
    assert [pattern.mark for pattern in PATTERNS if pattern.mark not in shown] == []


def test_masking_twice_changes_nothing_more() -> None:
    once = [mask(case["text"]) for case in CASES]
    assert [mask(text) for text in once] == once


@pytest.mark.parametrize(
    "text", ["1" * 200_000, "a@" * 100_000, "1-" * 100_000, "a.b-" * 50_000 + "@", "010-" * 50_000]
)
def test_no_text_takes_long(text: str) -> None:
    began = time.monotonic()
    mask(text)
    assert time.monotonic() - began < patient(5.0)
