"""YAML read strictly: a key given twice is refused, and a plain word means what the Pulumi engine takes it for.

PyYAML follows YAML 1.1, in which `no` is false and `19:00` is 1140; to the engine both are text. A plain date, which
the engine would lengthen to a time, is refused. Does not know what the values are for.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from core.errors import ConfigError

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
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key.value} is given twice, first in line {lines[key.value]}", key.start_mark
            )
        lines[key.value] = key.start_mark.line + 1
    loader.flatten_mapping(node)
    return {key.value: loader.construct_object(value, deep=True) for key, value in node.value}


def _date(_loader: Any, node: yaml.ScalarNode) -> None:
    """Refuse a plain date."""
    raise yaml.constructor.ConstructorError(None, None, "a date must stand in quotes", node.start_mark)


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping)
_StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", _date)


def read_yaml(path: Path, *, shown_as: str) -> Any:
    """Return the one document in `path`; None when the file is empty. `shown_as` is the file's name in messages.

    Raises ConfigError with line and column for broken YAML; FileNotFoundError is left to the caller, who knows what
    else there is.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 text (byte {error.start})", where=shown_as, hint="save it as UTF-8") from error
    except FileNotFoundError:
        raise
    except OSError as error:
        hint = "name a file that you may read"
        raise ConfigError(f"cannot be read ({error.strerror})", where=shown_as, hint=hint) from error
    try:
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


def _words(problem: str, *, tab: bool) -> tuple[str, str]:
    """Return what is wrong and what to do, without the text around it: it may hold a secret."""
    if "is given twice" in problem:
        return problem, "keep one of the two"
    if "must stand in quotes" in problem:
        return problem, 'write e.g. "2026-01-31"'
    if tab:
        return "is not YAML: the line is indented with a tab", "indent with spaces"
    return (
        f"is not YAML: {problem}",
        "mind the indentation, and quote text that holds `: ` or starts with @`%&*!|",
    )
