"""The texts of a file that people read: prose, comments, string literals, names of tests.

`prose` blanks everything else and keeps every character in its place, so a phrase is found across a line break, too.
Not read: CSV, JSON, values in YAML and TOML, recipes in a Makefile, and code in backticks.
"""

import re
from collections.abc import Iterator

CODE = "\0"
"""Replaces a character of code: no phrase matches across it."""

# Takes a fifth of the time of tokenize. Strings and comments are all that has to be separated from code.
_PYTHON = re.compile(
    r'''(?sx)
    \#[^\n]*
    | (?:\b[rRbBfFuU]{1,2})? (?:
        """ [^"\\]* (?: (?: \\. | "(?!"") ) [^"\\]* )* """
        | \'{3} [^'\\]* (?: (?: \\. | \'(?!\'\') ) [^'\\]* )* \'{3}
        | " (?: \\. | [^"\\\n] )* "
        | ' (?: \\. | [^'\\\n] )* '
    )
    | \b(?:def|class)[ ]\w+'''
)
_QUOTED = re.compile(r"(?is)[a-z]*('''|\"\"\"|'|\")(.*)\1")
_NAMES = re.compile(r"[^\s,]*(, ?\w+)*")
_PLACEHOLDER = re.compile(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")
_ESCAPE = re.compile(r"\\[nrt]")
_CODE_SPAN = re.compile(r"(`+)(?:\S+|(?:make|fab|pulumi) .*?)\1")
_LINK_TARGET = re.compile(r"(?<=\])\([^)\s]*\)")
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*", re.MULTILINE)
_NAME_IN_SHELL = re.compile(r"\$[({]?\w+|\b\w+=|[\w.-]*/[\w./-]*")


def prose(name: str, source: str) -> str:
    """Return `source` with its code blanked, every other character in its place; empty for a file that is not read."""
    suffix = name.rpartition(".")[2] if "." in name.rpartition("/")[2] else ""
    first = source.partition("\n")[0]
    if suffix == "py" or (first.startswith("#!") and "python" in first):
        return _python(name, source)
    if suffix == "md":
        return _blank(_LINK_TARGET, _blank(_CODE_SPAN, source))
    if suffix in {"sh", "j2"} or first.startswith("#!"):
        return _blank(_CODE_SPAN, _blank(_NAME_IN_SHELL, source.replace("#", " ")))
    if name.rpartition("/")[2] == "Makefile" or suffix in {
        "mk",
        "yaml",
        "yml",
        "toml",
        "service",
        "timer",
        "cfg",
        "in",
        "excludes",
        "overrides",
    }:
        return _only([found.span() for found in _COMMENT.finditer(source)], source)
    return ""


def _python(name: str, source: str) -> str:
    """Return the comments, string literals and, in a file of tests, names of tests."""
    is_test = name.rpartition("/")[2].startswith("test_")
    spans = list[tuple[int, int]]()
    for found in _PYTHON.finditer(source):
        is_definition = found[0].startswith(("def ", "class "))
        if is_test if is_definition else not _is_name(found[0]):
            spans.append(found.span())
    return _only(spans, source)


def _is_name(literal: str) -> bool:
    """Return whether a string literal is a name, or a list of names, and not a text."""
    found = _QUOTED.fullmatch(literal)
    return bool(_NAMES.fullmatch(found[2] if found else literal))


def _only(spans: list[tuple[int, int]], source: str) -> str:
    """Return `source` with all but `spans` blanked; in them, quotes, comment signs and what is filled in."""
    return "".join(_parts(spans, source))


def _parts(spans: list[tuple[int, int]], source: str) -> Iterator[str]:
    """Yield the parts of `_only`."""
    position = 0
    for start, end in spans:
        yield re.sub(r"\S", CODE, source[position:start])
        yield _text(source[start:end])
        position = end
    yield re.sub(r"\S", CODE, source[position:])


def _text(part: str) -> str:
    """Return the text of a comment, of a string literal or of a definition's name, as long as it was."""
    if part.startswith("#"):
        return _blank(_CODE_SPAN, " " + part[1:])
    if found := _QUOTED.fullmatch(part):
        before, inside, after = part[: found.start(2)], found[2], part[found.end(2) :]
        if "f" in before.lower():
            inside = _blank(_PLACEHOLDER, inside)
        return " " * len(before) + _blank(_CODE_SPAN, _ESCAPE.sub("  ", inside)) + " " * len(after)
    return part.replace("_", " ")


def _blank(pattern: re.Pattern[str], text: str) -> str:
    """Return `text` with each match of `pattern` blanked."""
    return pattern.sub(lambda found: re.sub(r"\S", CODE, found[0]), text)
