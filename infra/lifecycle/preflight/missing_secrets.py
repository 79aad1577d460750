"""Whether the secrets that a stack file names are on this computer: `provision` needs them. Asks no cloud.

Only `up` and preflight look. Preview, refresh and down need no secret.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from core.console import say
from core.errors import ConfigError
from core.paths import outputs_file
from core.reading.rules import Problem
from core.reading.secret import SecretRef
from core.reading.words import error_of
from infra.config import DeploymentConfig
from infra.config.reader import stack_file


def refuse_missing_secrets(config: DeploymentConfig, stack: str) -> None:
    """Raise ConfigError for secrets that cannot be read. Once an `up` of the stack has completed, only print them."""
    problems = list(missing_secrets(config))
    if not problems:
        return
    if not outputs_file(stack).exists():
        raise error_of(problems, f"stacks/{stack_file(stack).name}")
    for each in problems:
        say(f"  ! {each.key}: {each.what}, which `provision` needs; {each.hint}")


def missing_secrets(config: DeploymentConfig) -> Iterator[Problem]:
    """Yield a problem for each secret of a stack file that cannot be read."""
    for key, secret in _secrets(config, ""):
        try:
            secret.read()
        except ConfigError as error:
            yield Problem(key, f"{error.where} {error.what}", error.hint)


def _secrets(value: Any, key: str) -> Iterator[tuple[str, SecretRef]]:
    """Yield the references to secrets in a part of a config, each with its key."""
    if isinstance(value, SecretRef):
        yield key, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name), f"{key}.{name}" if key else name)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _secrets(each, f"{key}.{name}")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, each in enumerate(value):
            yield from _secrets(each, f"{key}[{index}]")
