"""Strict YAML: duplicate keys are errors, and a plain word has the meaning that it has for the Pulumi engine.

PyYAML follows YAML 1.1, where `no` is false and `19:00` is 1140; the Pulumi engine reads both as text. Also errors: a
plain date, which the Pulumi engine would turn into a time; a tag (`!!int`), which no file needs; and input that takes
much time or memory to read. Does not know what the values mean.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from core.errors import ConfigError
from core.printable import on_one_line
from core.reading.regular_files import open_regular

MAX_BYTES = 4 * 1024**2
"""Far more than any file that people write, and still read within a second."""

MAX_DEPTH = 40
"""How deeply mappings and lists may nest; our deepest model has 8 levels."""

MAX_VALUES = 100_000
"""How many values a file may have. A value that an alias repeats counts each time."""

MAX_DIGITS = 40
"""Limit for one number. Python does not print whole numbers of more than 4,300 digits."""

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_BASE):  # type: ignore[misc]  # CSafeLoader exists only if PyYAML was built with libyaml
    """A loader without duplicate keys, dates and base-60 numbers; booleans are `true` and `false` only."""


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
    """Return the mapping of `node`. Raises ConstructorError for a key that is not a scalar and for a duplicate key."""
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "key must be one word", key.start_mark)
        if key.value in lines:
            problem = f"duplicate key {on_one_line(key.value)}, first in line {lines[key.value]}"
            raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        lines[key.value] = key.start_mark.line + 1
    loader.flatten_mapping(node)
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):  # from a merge with `<<`
            raise yaml.constructor.ConstructorError(None, None, "key must be one word", key.start_mark)
    return {key.value: loader.construct_object(value, deep=True) for key, value in node.value}


def _date(_loader: Any, node: yaml.ScalarNode) -> None:
    """Raise ConstructorError for a plain date."""
    raise yaml.constructor.ConstructorError(None, None, "a date needs quotes", node.start_mark)


def _number(loader: Any, node: yaml.ScalarNode) -> Any:
    """Return a number. Raises ConstructorError if it has too many digits."""
    if len(node.value) > MAX_DIGITS:
        raise yaml.constructor.ConstructorError(None, None, f"a number has {len(node.value)} digits", node.start_mark)
    integer = node.tag.endswith(":int")
    return loader.construct_yaml_int(node) if integer else loader.construct_yaml_float(node)


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping)
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _number)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _number)
_StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", _date)


def read_yaml(path: Path, *, shown_as: str) -> Any:
    """Return the one document in `path`; None if the file is empty. `shown_as` is the file's name in messages.

    Raises ConfigError with line and column for broken YAML, and FileNotFoundError: the caller knows which files exist.
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
        what = f"contains a character that YAML does not allow (U+{error.character:04X})"
        raise ConfigError(what, where=place, hint="remove it; most editors do not show it") from error


def _read(path: Path, shown_as: str) -> str:
    """Return the text of a file. Raises FileNotFoundError, and ConfigError if the file cannot be read."""
    try:
        with open_regular(path) as stream:
            content = stream.read(MAX_BYTES + 1)  # /dev/zero has no end
    except FileNotFoundError:
        raise
    except OSError as error:
        hint = "name a readable file"
        raise ConfigError(f"cannot be read ({error.strerror})", where=shown_as, hint=hint) from error
    if len(content) > MAX_BYTES:
        what = f"is larger than {MAX_BYTES // 1024**2} MiB"
        raise ConfigError(what, where=shown_as, hint="check that it is the right file: YAML or JSON")
    try:
        return content.decode("utf-8-sig")  # without the byte order mark that some editors write
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 text (byte {error.start})", where=shown_as, hint="save it as UTF-8") from error


def _refuse_odd(text: str) -> None:
    """Raise MarkedYAMLError for tags and for input that would take long to construct. Constructs nothing."""
    depth = values = 0
    sizes: dict[str, int] = {}
    """How many values each anchor stands for. An anchor is added when its value ends."""
    opened: list[tuple[str | None, int]] = []
    for event in _events(text):
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem="the value has a tag", problem_mark=event.start_mark)
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
            raise yaml.MarkedYAMLError(problem=f"has more than {MAX_VALUES} values", problem_mark=event.start_mark)


def _events(text: str) -> Iterator[Any]:
    """Yield the parser's events. The parser does not recurse; the loader does."""
    return iter(yaml.parse(text, Loader=_BASE))


def _words(problem: str, *, tab: bool) -> tuple[str, str]:
    """Return what is wrong and what to write. Leaves out the text of the file, which may contain a secret."""
    if "duplicate key" in problem:
        return problem, "keep one of the two"
    if "a date needs quotes" in problem:
        return problem, 'write e.g. "2026-01-31"'
    if "has a tag" in problem:
        return "the value has a tag (a word with !)", "remove the tag; text that looks like a number needs quotes"
    if "nests deeper" in problem or "has more than" in problem or "a number has" in problem:
        return (
            problem,
            "check that it is the right file" if "number" not in problem else "write fewer, or put text in quotes",
        )
    if tab:
        return "is not YAML: the line is indented with a tab", "indent with spaces"
    return (
        f"is not YAML: {problem}",
        "check the indentation, and quote text that contains `: ` or starts with @`%&*!|",
    )
