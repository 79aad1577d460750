"""Error lines for rejected input: the key, what is wrong with its value, and what to write; one line per problem.

    try:
        return StackOutputs.model_validate(value)
    except ValidationError as error:
        raise words(error, "hosts.yaml", StackOutputs) from None

`from None` matters: pydantic's own text repeats the input. This module never repeats what may be a secret: fields
marked with `core.reading.rules.SECRET` or of type SecretRef, mappings, lists, and text that looks like a token.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from core.errors import ConfigError
from core.printable import on_one_line
from core.reading.config_keys import Place, bare, fields_of, join, keys_called, literals, models_in, place_of
from core.reading.rules import HIDDEN, LONGEST_WORD, PROBLEMS, SECRET, Problem, looks_secret, masked, one_of
from core.reading.secret import SecretRef

LONGEST_ECHO_CHARS = 60

_MAPPING = "a mapping"

_EXPECTED = {
    "string_type": "text",
    "path_type": "a path",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "datetime_parsing": "a time",
    "datetime_from_date_parsing": "a time",
    "timezone_aware": "a time with a time zone",
}
"""What the field of each pydantic type error expects."""


def words(error: ValidationError, where: str, model: type[BaseModel], refused: Collection[str] = ()) -> ConfigError:
    """Return pydantic's `error` from validating with `model` as one ConfigError. `where` names the file.

    No hint advises one of the keys in `refused`.
    """
    problems: list[Problem] = []
    every = error.errors(include_url=False)
    for details in every:
        # pydantic counts rejected entries as missing, and so also reports a list with one wrong name as empty
        if details["type"] != "too_short" or not any(_lies_in(each["loc"], details["loc"]) for each in every):
            problems += _problems(details, place_of(model, details["loc"], refused), model)
    return error_of(problems, where)


def error_of(problems: Iterable[Problem], where: str) -> ConfigError:
    """Return `problems`, at least one, as one ConfigError: the first as its line, the others as detail lines."""
    first, *others = [
        ConfigError(
            on_one_line(masked(each.what)),
            where=f"{where}: {_shown(each.key)}" if each.key else where,
            hint=on_one_line(_without_long_words(each.hint)),
        )
        for each in problems
    ]
    first.detail = "\n".join(f"error: {each}" for each in others)
    return first


def _shown(key: str) -> str:
    """Return `key` with the parts hidden that may be secrets: some users paste one in place of a key."""
    return ".".join(_short(on_one_line(masked(part))) for part in key.split("."))


def _lies_in(loc: tuple[int | str, ...], above: tuple[int | str, ...]) -> bool:
    """Return whether `loc` lies below `above`."""
    return len(loc) > len(above) and loc[: len(above)] == above


def _problems(details: ErrorDetails, place: Place, model: type[BaseModel]) -> list[Problem]:
    """Return the problems in one of pydantic's errors: several for a rule over several fields."""
    if details["type"] == "extra_forbidden":
        return [_unknown_key(place, model)]
    if details["type"] == PROBLEMS:
        return [Problem(join(place.key, each.key), each.what, each.hint) for each in details["ctx"][PROBLEMS]]
    return [_problem(details["type"], details["input"], place, details.get("ctx", {}))]


def _problem(kind: str, found: Any, place: Place, context: Mapping[str, Any]) -> Problem:
    """Return the problem of one field."""
    if kind == "missing":
        return Problem(place.key, "is missing", _write_missing(place.field))
    if kind == "value_error":
        what, _, hint = str(context["error"]).partition("; ")
        return Problem(place.key, _with_echo(found, place.field, what), hint)
    if kind.startswith("union_tag"):
        return _wrong_kind(kind, found, place, context)
    if kind == "literal_error":
        choices = [str(each) for each in literals(place.field.annotation if place.field else None)]
        hint = one_of(choices, found if isinstance(found, str) else "")
        return Problem(
            place.key, _with_echo(found, place.field, "is not known" if found is not None else "is empty"), hint
        )
    return _mismatch(kind, found, place, context)


def _unknown_key(place: Place, model: type[BaseModel]) -> Problem:
    """Return the problem of an unknown key. If `model` has it in one other place, the hint names that place."""
    above, _, last = place.key.rpartition(".")
    if last == "secure":
        return _encrypted(above)
    section = above.rpartition(".")[2]
    # A section of the same name is no better place: gateway.machine is not machine.
    elsewhere = {key for key in keys_called(model, last) if key.split(".")[-2:-1] != [section]}
    hint = f"did you mean {elsewhere.pop()}?" if len(elsewhere) == 1 else one_of(place.siblings, last)
    return Problem(place.key, "is not a known key", hint)


def _encrypted(key: str) -> Problem:
    """Return the problem of a value that `pulumi config set --secret` wrote."""
    return Problem(
        key,
        "is an encrypted value, which is not supported",
        "write where a secret is kept, e.g. env: HF_TOKEN, and everything else in plain text",
    )


def _wrong_kind(kind: str, found: Any, place: Place, context: Mapping[str, Any]) -> Problem:
    """Return the problem of a value that should be a mapping with a known `kind`."""
    if not isinstance(found, Mapping):
        return _mismatch("dict_type", found, place, context)
    key = join(place.key, str(context["discriminator"]).strip("'"))
    if kind == "union_tag_not_found":
        return Problem(key, "is missing", _write(place.field))
    known = re.findall(r"'([^']*)'", str(context["expected_tags"]))
    return Problem(key, f"{_echo(context['tag'], None)} is not known", one_of(known, str(context["tag"])))


def _mismatch(kind: str, found: Any, place: Place, context: Mapping[str, Any]) -> Problem:
    """Return the problem of a value of the wrong type or size."""
    field = place.field
    if isinstance(found, Mapping) and set(found) == {"secure"}:
        return _encrypted(place.key)
    if kind in _EXPECTED:
        what = "is empty" if found is None else f"is {_sort(found)}, not {_EXPECTED[kind]}"
        if isinstance(found, str | int | float):
            what = f"{_echo(found, field)} is not {_EXPECTED[kind]}"
        hint = f"write {bounds(field)}" if kind.startswith(("int", "float")) else _write(field)
        if kind == "string_type" and isinstance(found, int | float):
            hint = "put it in quotes"
        models = models_in(bare(field.annotation)) if field else []
        if len(models) == 1 and _EXPECTED[kind] == _MAPPING:
            keys = (each for each in fields_of(models[0]) if join(place.key, each) not in place.refused)
            # The section is off while it is left out: then `{}` is what most want.
            empty = "{} or " if field and field.default is None and _may_be_empty(models[0]) else ""
            hint = f"write {empty}keys below it: {', '.join(keys)}"
        if kind == "tuple_type" and isinstance(found, str):
            hint = f"write [{_echo(found, field)}]"
        return Problem(place.key, what, hint)
    if kind.startswith(("greater_than", "less_than")):
        return Problem(place.key, f"{_echo(found, field)} is out of range", f"write {bounds(field)}")
    if kind == "too_short":
        return Problem(place.key, "is empty", f"name at least {context['min_length']}: {_meaning(field)}")
    if kind == "too_long":
        return Problem(place.key, f"has {len(found)} entries", f"write at most {context['max_length']}")
    if kind == "json_invalid":  # `found` is the whole file
        what, hint = "is not JSON", "delete it, so that it is written again, or restore it from a copy"
    else:
        what, hint = _with_echo(found, field, "is not valid"), _write(field)
    return Problem(place.key, what, hint)


def _sort(value: Any) -> str:
    """Return the kind of value, in YAML's terms."""
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else "a value"


def _echo(value: Any, field: FieldInfo | None) -> str:
    """Return `value` as YAML writes it, or a placeholder if it may be a secret."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if _may_hold_a_secret(field) or looks_secret(text):
        return f"the value {HIDDEN}"
    text = _short(text)
    return text if re.fullmatch(r"[^\s'\"]+", text) and text.isprintable() else repr(text)


def _may_hold_a_secret(field: FieldInfo | None) -> bool:
    """Return whether the field is marked, or says where a secret is: some users write the secret itself there."""
    return field is not None and (field.json_schema_extra == SECRET or SecretRef in models_in(bare(field.annotation)))


def _without_long_words(text: str) -> str:
    """Return `text` with HIDDEN in place of very long words."""
    return re.sub(rf"\S{{{LONGEST_WORD},}}", HIDDEN, text)


def _short(text: str) -> str:
    """Return `text`, cut to LONGEST_ECHO_CHARS."""
    return text if len(text) <= LONGEST_ECHO_CHARS else text[: LONGEST_ECHO_CHARS - 1] + "…"


def _with_echo(value: Any, field: FieldInfo | None, what: str) -> str:
    """Return `what` with the value in front, if the value fits on a line."""
    return f"{_echo(value, field)} {what}" if isinstance(value, str | int | float) else what


def _meaning(field: FieldInfo | None) -> str:
    """Return the field's description, without the full stop."""
    return ((field.description if field else None) or "see docs/config.md").rstrip(".")


def _write(field: FieldInfo | None) -> str:
    """Return a hint with the field's choices or its description."""
    if field is not None and literals(field.annotation):
        return one_of(str(each) for each in literals(field.annotation))
    if field is not None and field.annotation is bool:
        return f"write true or false ({_meaning(field)})"
    return f"write it: {_meaning(field)}"


def _write_missing(field: FieldInfo | None) -> str:
    """Return a hint for a key that is not there: the field's example, if it has one."""
    return f"write e.g. {field.examples[0]}" if field is not None and field.examples else _write(field)


def _may_be_empty(model: type[BaseModel]) -> bool:
    """Return whether `{}` is valid: every key has a default, and together they fit."""
    try:
        model.model_validate({})
    except ValidationError:
        return False
    return True


def bounds(field: FieldInfo | None) -> str:
    """Return the range of numbers that a field accepts."""
    found = {
        name: getattr(rule, name)
        for rule in (field.metadata if field else ())
        for name in ("ge", "gt", "le", "lt")
        if hasattr(rule, name)
    }
    low = f"{found['ge']}" if "ge" in found else f"more than {found['gt']}" if "gt" in found else ""
    high = f"{found['le']}" if "le" in found else f"less than {found['lt']}" if "lt" in found else ""
    if low and high:
        return f"{low} to {high}"
    if low:
        return f"{low} or more" if "ge" in found else low
    return (f"at most {high}" if "le" in found else high) or "a number"
