"""Building blocks for the rules of config models: problems with their key, suggestions for near misses, masks.

A rule is one function without network access. A rule for one field raises `ValueError("what is wrong; what to write")`,
and `core.reading.words` puts the value in front. A rule over several fields yields `Problem`s, each with its own key.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

SECRET: dict[str, Any] = {"secret": True}
"""`json_schema_extra` of a field whose value is never printed."""

PROBLEMS = "problems"
"""The type of the error that `refuse` raises, and the key of the problems in its context."""

_MIXED = r"(?=\S*[a-z])(?=\S*[A-Z])(?=\S*\d)"

_TOKEN = re.compile(
    r"\b(?:hf_|sk-|gh[opsu]_|github_pat_|glpat-|xox[abp]-|AKIA|ASIA|AIza|eyJ)[A-Za-z0-9_-]{10,}"  # common services
    r"|-----BEGIN"  # a key in PEM
    r"|://[^/@\s]*:[^/@\s]*@"  # a password in a URL
    rf"|{_MIXED}(?<![\w+=])[\w+=]{{24,}}"  # a long run without the `-` and `/` of names
    rf"|{_MIXED}(?<![\w/+=-])[\w/+=]{{40}}(?![\w/+=-])"  # a secret key of AWS
)
"""Text that looks like a secret."""


LONGEST_WORD, LONGEST_TEXT = 400, 20_000
"""Characters. Longer text is hidden: nobody reads it, and the search time grows with the square of the word length."""

HIDDEN = "(not shown)"


@dataclass(frozen=True)
class Problem:
    """One mistake. `key` is the path below the model that reports it, e.g. `adapters[1].rank`."""

    key: str
    what: str
    hint: str = ""


def refuse(problems: Iterable[Problem]) -> None:
    """Raise all `problems` as one error; do nothing if there are none. For validators."""
    found = tuple(problems)
    if found:
        raise PydanticCustomError(PROBLEMS, "several fields do not fit", {PROBLEMS: found})


def matching(pattern: str, words_if_not: str) -> AfterValidator:
    """Return a rule that rejects text that does not match `pattern`, with `what is wrong; what to write`."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(words_if_not)
        return value

    return AfterValidator(check)


Sha256 = Annotated[str, matching(r"[0-9a-f]{64}", "is not a SHA-256; write the 64 hex digits that sha256sum prints")]


MAX_STACK_CHARS = 40
"""A resource is named llm-<stack>-<noun>-<number>, and a cloud allows 63 characters (RFC 1035)."""

STACK_NAME = rf"[a-z]([a-z0-9-]{{0,{MAX_STACK_CHARS - 2}}}[a-z0-9])?"

NO_STACK_NAME = "is not a stack name"
STACK_NAME_HINT = f"write lower-case letters, digits and -, starting with a letter, at most {MAX_STACK_CHARS}"

StackName = Annotated[str, matching(STACK_NAME, f"{NO_STACK_NAME}; {STACK_NAME_HINT}")]
"""Names a folder of results and one of secrets, so it must not be a path."""


def twice(values: Iterable[str], key: str) -> Iterable[Problem]:
    """Yield a problem for each duplicate in `values`."""
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield Problem(f"{key}[{index}]", f"{value} is given twice", "write it once")
        seen.add(value)


def one_of(known: Iterable[str], wrong: str = "") -> str:
    """Return a hint with the known word nearest to `wrong`, or with all known words if none is near."""
    choices = list(known)
    near = difflib.get_close_matches(wrong[:LONGEST_WORD], choices, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"write one of {', '.join(choices)}"


def looks_secret(text: str) -> bool:
    """Return whether `text` may be a token or password."""
    if len(text) > LONGEST_TEXT:
        return True
    return any(len(word) > LONGEST_WORD or _TOKEN.search(word) for word in text.split())


def masked(text: str) -> str:
    """Return `text` with HIDDEN in place of words that may be secrets."""
    return re.sub(r"\S+", lambda word: HIDDEN if looks_secret(word[0]) else word[0], text)
