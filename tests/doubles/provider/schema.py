"""What the vendor's SDK knows about resources and functions: the names and types of inputs, the names of outputs.

Read from the generated classes, so that the double accepts what the pinned SDK knows and nothing else. Does not know
which inputs conflict, which values are allowed, or which changes need a replacement: kinds and the cloud say that.
"""

import collections.abc
import importlib
import inspect
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from pulumi import _types
from pulumi.runtime.rpc import _RESOURCE_MODULES

from tests.doubles.provider.values import UNKNOWN, Properties

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Between the words of a name in camel case."""


@dataclass(frozen=True)
class Failure:
    """One wrong input: where, and why."""

    path: str
    reason: str


class UnknownTokenError(Exception):
    """The SDK has no resource or function of this name."""


@dataclass(frozen=True)
class ResourceSchema:
    """One kind of resource, as the SDK knows it."""

    token: str
    inputs: type
    outputs: frozenset[str]

    @property
    def input_names(self) -> frozenset[str]:
        """The names that the engine may send."""
        return frozenset(_types.input_type_types(self.inputs))

    def check(self, inputs: Properties) -> list[Failure]:
        """Return the errors of the inputs: unknown names, wrong types, missing inputs."""
        return list(_check_object(inputs, self.inputs, ""))


@cache
def resource_schema(token: str) -> ResourceSchema:
    """Return the schema of a resource such as `aws:ec2/instance:Instance`. Raises UnknownTokenError."""
    package, module, _name = token.split(":")
    importlib.import_module(f"pulumi_{package}")
    for each in _RESOURCE_MODULES.get(f"{package}:{module}", []):
        info = each.mod_info  # type: ignore[attr-defined]  # the vendor's SDK adds it
        class_name = info["classes"].get(token)
        if class_name:
            # The folder first: the SDK loads it when it is first used, but never if a file in it was loaded before.
            getattr(importlib.import_module(info["fqn"]), class_name)
            file = importlib.import_module(f"{info['fqn']}.{_snake(class_name)}")
            outputs = frozenset(_types.resource_types(getattr(file, class_name)))
            # The SDK's generator writes InitArgs if an input's type already has the name with Args.
            inputs = getattr(file, f"{class_name}InitArgs", None) or getattr(file, f"{class_name}Args")
            return ResourceSchema(token, inputs, outputs)
    raise UnknownTokenError(f"the SDK pulumi_{package} has no resource {token}")


@cache
def function_arguments(token: str) -> frozenset[str]:
    """Return the names of the arguments of a function such as `aws:ssm/getParameter:getParameter`."""
    package, module, name = token.split(":")
    folder, _slash, _file = module.rpartition("/")
    owner = importlib.import_module(f"pulumi_{package}" + (f".{folder}" if folder else ""))
    function = getattr(owner, _snake(name), None)
    if function is None:
        raise UnknownTokenError(f"the SDK pulumi_{package} has no function {token}")
    return frozenset(_camel(each) for each in inspect.signature(function).parameters if each != "opts")


def _check_object(value: Properties, shape: type, path: str) -> Iterator[Failure]:
    types = _types.input_type_types(shape)
    for key, each in value.items():
        below = f"{path}.{key}" if path else key
        if key.startswith("__"):
            continue  # the engine's own marks
        if key not in types:
            yield Failure(below, "the SDK knows no such input")
        else:
            yield from _check(each, types[key], below)
    names = _types.input_type_py_to_pulumi_names(shape)
    for parameter in list(inspect.signature(shape).parameters.values()):
        name = names.get(parameter.name, parameter.name)
        if parameter.default is inspect.Parameter.empty and name not in value:
            yield Failure(f"{path}.{name}" if path else name, "is required and missing")


def _check(value: Any, annotation: Any, path: str) -> Iterator[Failure]:
    if value == UNKNOWN or annotation is Any:
        return
    alternatives = _alternatives(annotation)
    results = [list(_check_one(value, each, path)) for each in alternatives]
    if alternatives and all(results):
        yield from min(results, key=len)


def _check_one(value: Any, annotation: Any, path: str) -> Iterator[Failure]:
    origin = typing.get_origin(annotation)
    if origin in (collections.abc.Sequence, list):
        if not isinstance(value, list):
            yield Failure(path, f"is {_named(value)}, not a list")
            return
        for index, each in enumerate(value):
            yield from _check(each, typing.get_args(annotation)[0], f"{path}[{index}]")
    elif origin in (collections.abc.Mapping, dict):
        if not isinstance(value, dict):
            yield Failure(path, f"is {_named(value)}, not a mapping")
            return
        for key, each in value.items():
            yield from _check(each, typing.get_args(annotation)[1], f"{path}.{key}")
    elif isinstance(annotation, type) and _types.is_input_type(annotation):
        if isinstance(value, dict):
            yield from _check_object(value, annotation, path)
        else:
            yield Failure(path, f"is {_named(value)}, not a mapping")
    elif isinstance(annotation, type) and not _is_plain(value, annotation):
        yield Failure(path, f"is {_named(value)}, not {annotation.__name__}")


def _is_plain(value: Any, wanted: type) -> bool:
    if issubclass(wanted, Enum):
        return value in {each.value for each in wanted}
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))


def _alternatives(annotation: Any) -> list[Any]:
    """Return the types that a value may have, without the wrappers of the SDK: Optional, Input, Awaitable, Output."""
    if typing.get_origin(annotation) is typing.Union:
        parts = [each for arg in typing.get_args(annotation) for each in _alternatives(arg)]
        return list(dict.fromkeys(parts))
    if annotation is type(None) or isinstance(annotation, typing.ForwardRef):
        return []
    origin = typing.get_origin(annotation)
    if origin is collections.abc.Awaitable or getattr(origin, "__name__", "") == "Output":
        return []
    return [annotation]


def _named(value: Any) -> str:
    return {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a mapping"}[
        type(value)
    ]


def _snake(name: str) -> str:
    """Return a name as the SDK's files spell it: `BucketIAMMember` is `bucket_iam_member`."""
    return _WORDS.sub("_", name).lower()


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(each.title() for each in rest)


def provider_inputs(package: str) -> frozenset[str]:
    """Return the names of the provider's own settings."""
    shape = importlib.import_module(f"pulumi_{package}.provider").ProviderArgs
    return frozenset(_types.input_type_types(shape)) | {"version", "__internal"}
