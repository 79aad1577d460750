"""Refused input told in words: where, what was found, what to write instead; one line per problem.

    try:
        return StackOutputs.model_validate(value)
    except ValidationError as error:
        raise words(error, "hosts.yaml", StackOutputs) from None

A rule of one field is a validator that raises `ValueError("what is wrong; what to write")`: what was found is put in
front. A rule over several fields reports `Problem`s, each with its own key, through `refuse`. What may be a secret is
never repeated: fields marked with `SECRET`, mappings, and text that looks like a token. pydantic's own wording is not
used. `from None` keeps the refused input out of a traceback, too.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from core.errors import ConfigError

SECRET: dict[str, Any] = {"secret": True}
"""`json_schema_extra` of a field whose value is never repeated."""

LONGEST_ECHO_CHARS = 60

_PROBLEMS = "problems"
"""pydantic's name for the error that `refuse` raises."""

_TOKEN = re.compile(
    r"hf_|sk-|ghp_|github_pat_|glpat-|xox[abp]-|AKIA|ASIA|AIza|eyJ|-----BEGIN|://[^/@\s]*:[^/@\s]*@|[A-Za-z0-9+/_-]{36,}"
)
"""What tokens of usual services look like, a password in a URL, and any long run of random-looking characters."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. `key` is the path below the model that reports it, e.g. `adapters[1].rank`."""

    key: str
    what: str
    hint: str = ""


def refuse(problems: Iterable[Problem]) -> None:
    """Raise all `problems` as one error, to be called from a validator; does nothing when there are none."""
    found = tuple(problems)
    if found:
        raise PydanticCustomError(_PROBLEMS, "several fields do not fit", {"problems": found})


def matching(pattern: str, words_if_not: str) -> AfterValidator:
    """Return a rule that refuses text that is not wholly `pattern`, with `what is wrong; what to write`."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(words_if_not)
        return value

    return AfterValidator(check)


def one_of(known: Iterable[str], wrong: str = "") -> str:
    """Return a hint with the known word nearest to `wrong`, or all of them when none is near."""
    choices = sorted(known)
    near = difflib.get_close_matches(wrong, choices, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"write one of {', '.join(choices)}"


def looks_secret(text: str) -> bool:
    """Return whether `text` may be a token or password that must not be repeated."""
    return bool(_TOKEN.search(text))


def words(error: ValidationError, where: str, model: type[BaseModel]) -> ConfigError:
    """Return `error`, raised by validating with `model`, as a ConfigError; further problems are its detail lines."""
    problems: list[Problem] = []
    for details in error.errors(include_url=False):
        problems += _problems(details, _walk(model, details["loc"]))
    return errors_of(problems, where)


def errors_of(problems: Iterable[Problem], where: str) -> ConfigError:
    """Return `problems`, at least one, as a single ConfigError: the first as its line, the others as detail lines."""
    first, *others = [
        ConfigError(each.what, where=f"{where}: {each.key}" if each.key else where, hint=each.hint) for each in problems
    ]
    first.detail = "\n".join(f"error: {each}" for each in others)
    return first


@dataclass(frozen=True)
class _Place:
    """Where in the input an error lies: its key as a person writes it, and what the models say about it."""

    key: str
    field: FieldInfo | None
    siblings: tuple[str, ...]
    """Keys that are known beside it."""


def _problems(details: ErrorDetails, place: _Place) -> list[Problem]:
    """Return what one of pydantic's errors says, in our words."""
    kind, found = details["type"], details["input"]
    context: Mapping[str, Any] = details.get("ctx", {})
    if kind == _PROBLEMS:
        return [Problem(_join(place.key, each.key), each.what, each.hint) for each in context["problems"]]
    if kind == "value_error":
        text = str(context["error"])
        what, _, hint = text.partition("; ")
        return [Problem(place.key, _with_echo(found, place.field, what), hint)]
    if kind == "extra_forbidden":
        return [_unknown_key(place)]
    if kind == "missing":
        return [Problem(place.key, "is missing", f"write it: {_meaning(place.field)}")]
    return [Problem(place.key, *_mismatch(kind, found, place.field, context))]


def _unknown_key(place: _Place) -> Problem:
    *_, last = re.split(r"[.\]]", place.key)
    if last == "secure":
        return Problem(place.key, "encrypted values are not read here", "name where the secret is kept: env or file")
    return Problem(place.key, "is no known key", one_of(place.siblings, last))


def _mismatch(kind: str, found: Any, field: FieldInfo | None, context: Mapping[str, Any]) -> tuple[str, str]:
    """Return what is wrong and what to write, for a value of the wrong type or size."""
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        key = str(context["discriminator"]).strip("'")
        known = re.findall(r"'([^']*)'", str(context.get("expected_tags", "")))
        if kind == "union_tag_not_found":
            if not isinstance(found, Mapping):
                return f"is {_sort(found)}, not a mapping", f"write it: {_meaning(field)}"
            return f"lacks the key {key}", f"write it: {_meaning(field)}"
        tag = str(context["tag"])
        return f"{key} {_echo(tag, field)} is not known", one_of(known, tag)
    if kind == "literal_error":
        choices = [str(each) for each in _literals(field.annotation if field else None)]
        return f"{_echo(found, field)} is not known", one_of(choices, found if isinstance(found, str) else "")
    wanted = _WANTED.get(kind)
    if wanted is not None:
        hint = f"write {_bounds(field)}" if kind.startswith(("int", "float")) else f"write it: {_meaning(field)}"
        if isinstance(found, str | float) and not isinstance(found, bool):
            return _with_echo(found, field, f"is {_sort(found)}, not {wanted}"), hint
        return f"is {_sort(found)}, not {wanted}", hint
    if kind.startswith(("greater_than", "less_than")):
        return f"{_echo(found, field)} is out of range", f"write {_bounds(field)}"
    if kind == "too_short":
        return "is empty", f"write at least {context['min_length']}: {_meaning(field)}"
    return _with_echo(found, field, "is not accepted"), f"write it: {_meaning(field)}"


_WANTED = {
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
    "list_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
"""What pydantic's type errors asked for."""


def _sort(value: Any) -> str:
    """Return what sort of value it is, in YAML's terms."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a mapping" if isinstance(value, Mapping) else "a list"


def _echo(value: Any, field: FieldInfo | None) -> str:
    """Return `value` as it is written in YAML, unless it may be a secret."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if (field is not None and field.json_schema_extra == SECRET) or looks_secret(text):
        return "the value (not shown)"
    if len(text) > LONGEST_ECHO_CHARS:
        text = text[: LONGEST_ECHO_CHARS - 1] + "…"
    return text if re.fullmatch(r"[^\s'\"]+", text) else repr(text)


def _with_echo(value: Any, field: FieldInfo | None, what: str) -> str:
    """Return `what` with the value in front, where it is one that can be shown on a line."""
    return f"{_echo(value, field)} {what}" if isinstance(value, str | int | float) else what


def _meaning(field: FieldInfo | None) -> str:
    """Return the field's description as the end of a sentence."""
    text = (field.description if field else None) or "see docs/config.md"
    return text.rstrip(".")


def _bounds(field: FieldInfo | None) -> str:
    """Return the numbers that a field takes, in words."""
    low = high = ""
    for rule in field.metadata if field else ():
        for name, form in (("ge", "{}"), ("gt", "more than {}")):
            low = form.format(getattr(rule, name)) if hasattr(rule, name) else low
        for name, form in (("le", "{}"), ("lt", "less than {}")):
            high = form.format(getattr(rule, name)) if hasattr(rule, name) else high
    if low and high:
        return f"{low} to {high}"
    return f"{low} or more" if low and "than" not in low else low or (f"at most {high}" if high else "a number")


def _join(key: str, below: str) -> str:
    """Return the key `below` the key `key`."""
    if not key or not below:
        return key or below
    return f"{key}{below}" if below.startswith("[") else f"{key}.{below}"


def _walk(model: type[BaseModel], loc: tuple[int | str, ...]) -> _Place:
    """Return where `loc` points: tags of unions are left out of the key, as nobody writes them."""
    key, annotation, field = "", _bare(model), None
    siblings: tuple[str, ...] = ()
    for step in loc:
        models = _models(annotation)
        if len(models) > 1:
            annotation = next((each for each in models if step in _tags(each)), None)
            continue
        if models:
            known = models[0].model_fields
            siblings = tuple(known)
            field = known.get(str(step))
            annotation = _bare(field.annotation) if field else None
        else:
            inner = [each for each in get_args(annotation) if each is not ...]
            annotation = _bare(inner[-1]) if inner else None
        key = _join(key, f"[{step}]" if isinstance(step, int) else _plain_key(step))
    return _Place(key, field, siblings)


def _plain_key(step: str) -> str:
    return "(a key that is not shown)" if looks_secret(step) else step


def _bare(annotation: Any) -> Any:
    """Return `annotation` without `Annotated` and without `| None`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        parts = [each for each in get_args(annotation) if each is not type(None)]
        return _bare(parts[0]) if len(parts) == 1 else annotation
    return annotation


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that `annotation` allows."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return [each for each in map(_bare, parts) if isinstance(each, type) and issubclass(each, BaseModel)]


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    """Return the values of the discriminator of `model`: its `kind`."""
    return _literals(model.model_fields["kind"].annotation) if "kind" in model.model_fields else ()


def _literals(annotation: Any) -> tuple[Any, ...]:
    """Return the values of a `Literal`, also of one that may be left out or stands in a list."""
    bare = _bare(annotation)
    if get_origin(bare) is Literal:
        return get_args(bare)
    return tuple(value for part in get_args(bare) if part is not ... for value in _literals(part))
