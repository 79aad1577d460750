"""Requests checked against AWS's own API models, as botocore ships them: lengths, patterns, enumerations, bounds.

botocore checks names and types alone before it sends a request; AWS checks the rest, and moto little of it.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.validate import ParamValidator

UNICODE = {
    r"\p{L}": r"\w", r"\p{N}": r"\w", r"\p{M}": r"\u0300-\u036f", r"\p{Z}": r" \u00a0\u2000-\u200a\u2028\u2029\u3000",
    r"\p{P}": r"!-/:-@\[-`{-~\u2010-\u2027", r"\p{S}": r"$+<=>^`|~\u00a2-\u00b6",
}  # fmt: skip
"""Classes of characters that Python's regular expressions lack -> the nearest class that Python has."""


class ModelViolationError(Exception):
    """A request that AWS would refuse before it reads the account's resources."""


def refuse_violations(params: dict[str, Any], model: OperationModel, **_event: Any) -> None:
    """Raise ModelViolationError for a request that breaks its model.

    A handler of botocore's `before-parameter-build`.
    """
    broken = [] if model.input_shape is None else list(violations(model.input_shape, params, model.name))
    if broken:
        raise ModelViolationError("; ".join(broken))


def refuse_request(service: str, method: str, params: dict[str, Any]) -> None:
    """Raise ModelViolationError for a call of boto3 that AWS would refuse by its model, or by names and types."""
    models = _models(service)
    (operation,) = [each for each in models.operation_names if xform_name(each) == method]
    model = models.operation_model(operation)
    if model.input_shape is not None:
        report = ParamValidator().validate(params, model.input_shape)
        if report.has_errors():
            raise ModelViolationError(report.generate_report())
    refuse_violations(params, model)


@cache
def _models(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


def violations(shape: Shape, value: Any, where: str) -> Iterator[str]:
    """Yield the errors of a value and of all values inside it."""
    if shape.type_name == "structure":
        for name, inner in value.items():
            if name in shape.members:
                yield from violations(shape.members[name], inner, f"{where}.{name}")
    elif shape.type_name == "list":
        yield from _bounds(shape, len(value), f"{where} has {len(value)} entries")
        for index, inner in enumerate(value):
            yield from violations(shape.member, inner, f"{where}[{index}]")
    elif shape.type_name == "map":
        for key, inner in value.items():
            yield from violations(shape.key, key, f"{where} key {key}")
            yield from violations(shape.value, inner, f"{where}[{key}]")
    elif shape.type_name in ("integer", "long", "float", "double"):
        yield from _bounds(shape, value, f"{where} is {value}")
    elif shape.type_name == "string":
        yield from _text(shape, str(value), where)


def _text(shape: Shape, text: str, where: str) -> Iterator[str]:
    yield from _bounds(shape, len(text), f"{where} has {len(text)} characters")
    if shape.enum and text not in shape.enum:
        yield f"{where}: {text!r} is not one of its values"
    pattern = shape.metadata.get("pattern")
    if pattern and not compiled(pattern).fullmatch(text):
        yield f"{where}: {text!r} does not match {pattern}"


def _bounds(shape: Shape, size: float, what: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < float(low):
        yield f"{what}, fewer than {low}"
    if high is not None and size > float(high):
        yield f"{what}, more than {high}"


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern of a model in Python's syntax."""
    for name, nearest in {**UNICODE, r"[\w-": r"[\w\-", "(?i)": ""}.items():
        pattern = pattern.replace(name, nearest)
    return re.compile(pattern)
