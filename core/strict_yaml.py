"""YAML read strictly: a key given twice is refused, and a plain word means what the Pulumi engine takes it for.

PyYAML follows YAML 1.1, in which `no` is false and `19:00` is 1140; to the engine both are text. A plain date, which
the engine would lengthen to a time, is refused; so are tags (`!!int`), which nobody needs, and what would take long or
much memory to read. Does not know what the values are for.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from core.errors import ConfigError
from core.printable import on_one_line
from core.regular_files import open_regular

MAX_BYTES = 4 * 1024**2
"""Far more than a file that people write; less than what takes seconds to read."""

MAX_DEPTH = 40
"""How deeply mappings and lists may nest; the deepest of our models is at 8."""

MAX_VALUES = 100_000
"""How many values a file may have, those that aliases repeat counted each time."""

MAX_DIGITS = 40
"""Of a number. Python refuses to print a whole number of more than 4,300 digits."""

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_BASE):  # type: ignore[misc]  # CSafeLoader is there only where PyYAML was built with libyaml
    """Refuses a key given twice; booleans are `true` and `false` only; no dates, no base-60 numbers."""


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("timestamp", r"^\d{4}-\d\d?-\d\d?(?:[Tt ].*)?$", "0123456789"),
    ("float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
):
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[str, Any]:
    """Return the mapping of `node`. Raises ConstructorError for a key that is no plain text or is given twice."""
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "key must be one word", key.start_mark)
        if key.value in lines:
            problem = f"key {on_one_line(key.value)} is given twice, first in line {lines[key.value]}"
            raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        lines[key.value] = key.start_mark.line + 1
    loader.flatten_mapping(node)
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):  # one that `<<` brought
            raise yaml.constructor.ConstructorError(None, None, "key must be one word", key.start_mark)
    return {key.value: loader.construct_object(value, deep=True) for key, value in node.value}


def _date(_loader: Any, node: yaml.ScalarNode) -> None:
    """Refuse a plain date."""
    raise yaml.constructor.ConstructorError(None, None, "a date must stand in quotes", node.start_mark)


def _number(loader: Any, node: yaml.ScalarNode) -> Any:
    """Return a number. Raises ConstructorError for one that is too long."""
    if len(node.value) > MAX_DIGITS:
        raise yaml.constructor.ConstructorError(None, None, f"a number has {len(node.value)} digits", node.start_mark)
    integer = node.tag.endswith(":int")
    return loader.construct_yaml_int(node) if integer else loader.construct_yaml_float(node)


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping)
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _number)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _number)
_StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", _date)


def read_yaml(path: Path, *, shown_as: str) -> Any:
    """Return the one document in `path`; None when the file is empty. `shown_as` is the file's name in messages.

    Raises ConfigError with line and column for broken YAML; FileNotFoundError is left to the caller, who knows what
    else there is.
    """
    text = _read(path, shown_as)
    try:
        _refuse_odd(text)
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506  # a safe loader, made stricter
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{shown_as}: line {mark.line + 1}, column {mark.column + 1}" if mark else shown_as
        indent = re.match(r"\s*", text.splitlines()[mark.line]) if mark and mark.line < len(text.splitlines()) else None
        what, hint = _words(str(error.problem or error.context or ""), tab=bool(indent and "\t" in indent.group()))
        raise ConfigError(what, where=place, hint=hint) from error
    except yaml.reader.ReaderError as error:
        place = f"{shown_as}: line {text.count(chr(10), 0, error.position) + 1}"
        what = f"holds a character that YAML does not allow (U+{error.character:04X})"
        raise ConfigError(what, where=place, hint="take it out; most editors do not show it") from error


def _read(path: Path, shown_as: str) -> str:
    """Return the text of a file. Raises ConfigError when it cannot be read, FileNotFoundError."""
    try:
        with open_regular(path) as stream:
            content = stream.read(MAX_BYTES + 1)  # never to the end of /dev/zero
    except FileNotFoundError:
        raise
    except OSError as error:
        hint = "name a file that you may read"
        raise ConfigError(f"cannot be read ({error.strerror})", where=shown_as, hint=hint) from error
    if len(content) > MAX_BYTES:
        what = f"is larger than {MAX_BYTES // 1024**2} MiB"
        raise ConfigError(what, where=shown_as, hint="is it the right file? Write a YAML or JSON file")
    try:
        return content.decode("utf-8-sig")  # without the mark that some editors put first
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 text (byte {error.start})", where=shown_as, hint="save it as UTF-8") from error


def _refuse_odd(text: str) -> None:
    """Raise MarkedYAMLError for tags, and for what would take long to construct. Constructs nothing itself."""
    depth = values = 0
    sizes: dict[str, int] = {}
    """Values below each anchor that has ended."""
    opened: list[tuple[str | None, int]] = []
    for event in _events(text):
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem="a tag stands before the value", problem_mark=event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            values += sizes.get(str(event.anchor), 0)
        elif isinstance(event, yaml.NodeEvent):
            values += 1
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                opened.append((event.anchor, values))
            elif event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            anchor, before = opened.pop()
            if anchor is not None:
                sizes[anchor] = values - before + 1
        if depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nests deeper than {MAX_DEPTH} levels", problem_mark=event.start_mark)
        if values > MAX_VALUES:
            raise yaml.MarkedYAMLError(problem=f"holds more than {MAX_VALUES} values", problem_mark=event.start_mark)


def _events(text: str) -> Iterator[Any]:
    """Yield what the parser sees, one event after the other: it does not recurse, unlike the loader."""
    return iter(yaml.parse(text, Loader=_BASE))


def _words(problem: str, *, tab: bool) -> tuple[str, str]:
    """Return what is wrong and what to do, without the text around it: it may hold a secret."""
    if "is given twice" in problem:
        return problem, "keep one of the two"
    if "must stand in quotes" in problem:
        return problem, 'write e.g. "2026-01-31"'
    if "a tag stands" in problem:
        return (
            "a tag (a word with !) stands before the value",
            "leave it out; text that looks like a number needs quotes",
        )
    if "nests deeper" in problem or "holds more than" in problem or "a number has" in problem:
        return problem, "is it the right file?" if "number" not in problem else "write fewer, or put text in quotes"
    if tab:
        return "is not YAML: the line is indented with a tab", "indent with spaces"
    return (
        f"is not YAML: {problem}",
        "mind the indentation, and quote text that holds `: ` or starts with @`%&*!|",
    )
