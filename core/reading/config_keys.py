"""The place of a pydantic error in a file: the key as a user writes it, its field, and the keys beside it."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Place:
    """A key of the input."""

    key: str
    field: FieldInfo | None
    """The field of the key; None for an unknown key."""
    siblings: tuple[str, ...]
    """The known keys at the same level."""
    refused: Collection[str] = ()
    """Full keys that hints leave out: the input refuses them for another reason."""


def place_of(model: type[BaseModel], loc: tuple[int | str, ...], refused: Collection[str] = ()) -> Place:
    """Return where `loc` points below `model`. The key leaves out the tags of unions: a file does not contain them."""
    key, annotation, field = "", bare(model), None
    siblings: tuple[str, ...] = ()
    for step in loc:
        if step == "[key]":  # pydantic's mark for an error in a mapping's key, not in its value
            continue
        models = models_in(annotation)
        if len(models) > 1:
            annotation = next((each for each in models if step in _tags(each)), None)
            continue
        if models:
            known = fields_of(models[0])
            siblings = tuple(each for each in known if join(key, each) not in refused)
            field = known.get(str(step))
            annotation = bare(field.annotation) if field else None
        else:
            inner = [each for each in get_args(annotation) if each is not ...]
            annotation = bare(inner[-1]) if inner else None
        key = join(key, f"[{step}]" if isinstance(step, int) else step)
    return Place(key, field, siblings, refused)


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of `model` by the keys of a file. A keyword of Python such as `class` is a field's alias."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def join(key: str, below: str) -> str:
    """Return the full key of `below`, a key inside `key`."""
    if not key or not below:
        return key or below
    return f"{key}{below}" if below.startswith("[") else f"{key}.{below}"


def bare(annotation: Any) -> Any:
    """Return `annotation` without `Annotated` and without `| None`."""
    if get_origin(annotation) is Annotated:
        return bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        parts = [each for each in get_args(annotation) if each is not type(None)]
        return bare(parts[0]) if len(parts) == 1 else annotation
    return annotation


def literals(annotation: Any) -> tuple[Any, ...]:
    """Return the values of a `Literal`, also of an optional one or of one inside a list."""
    stripped = bare(annotation)
    if get_origin(stripped) is Literal:
        return get_args(stripped)
    return tuple(value for part in get_args(stripped) if part is not ... for value in literals(part))


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that `annotation` allows."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return [each for each in map(bare, parts) if isinstance(each, type) and issubclass(each, BaseModel)]


def keys_called(model: type[BaseModel], name: str, above: str = "") -> Iterator[str]:
    """Yield the full keys in `model` whose last part is `name`. Leaves out keys in a list or in a union of models."""
    for key, field in fields_of(model).items():
        if key == name:
            yield join(above, key)
        below = models_in(bare(field.annotation))
        if len(below) == 1:
            yield from keys_called(below[0], name, join(above, key))


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    """Return the values of the discriminator of `model`: its `kind`."""
    return literals(model.model_fields["kind"].annotation) if "kind" in model.model_fields else ()
