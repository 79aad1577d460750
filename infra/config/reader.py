"""Read a stack file into a DeploymentConfig. Creates nothing and calls no cloud."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from core.errors import ConfigError, UsageError
from core.paths import STACKS_DIR
from core.reading.rules import NO_STACK_NAME, STACK_NAME, STACK_NAME_HINT, Problem, one_of
from core.reading.strict_yaml import read_yaml
from core.reading.words import error_of
from infra.config.checks import checked
from infra.config.models.deployment import DeploymentConfig
from infra.config.rules.pools import servings_by_key
from infra.config.rules.stack_names import stack_name_fits
from serving.sources.spec_files import file_is_there, files_of_gateway, files_of_serving

OWN_NAMESPACE = "llm-deploy:"
"""Prefix of this project's keys below `config:` in a stack file. All other keys belong to Pulumi and its providers."""

DEPLOYMENT_KEY = f"{OWN_NAMESPACE}deployment"
"""The only key with that prefix."""


def stack_file(stack: str) -> Path:
    """Return the path of the stack file. Raises UsageError if no stack can have this name."""
    if not re.fullmatch(STACK_NAME, stack):
        meant = PurePath(stack).name.removeprefix("Pulumi.").removesuffix(".yaml").lower()
        hint = f"did you mean {meant}?" if meant in known_stacks() else STACK_NAME_HINT
        raise UsageError(NO_STACK_NAME, where=repr(stack), hint=hint)
    return STACKS_DIR / f"Pulumi.{stack}.yaml"


def known_stacks() -> list[str]:
    """Return the names of the stacks that have a file."""
    return sorted(path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in STACKS_DIR.glob("Pulumi.*.yaml"))


def load_stack(stack: str) -> DeploymentConfig:
    """Return the config of `stack`. Raises UsageError if there is no such stack, ConfigError for a wrong value."""
    path = stack_file(stack)
    where = f"stacks/{path.name}"  # the path as a person in the checkout would type it
    try:
        content = read_yaml(path, shown_as=where)
    except FileNotFoundError:
        known = known_stacks()
        hint = one_of(known, stack) if known else "there are none yet, see stacks/README.md"
        raise UsageError(f"there is no stack {stack}", where=where, hint=hint) from None
    config = _config_section(content, where)
    unknown = [key for key in config if key.startswith(OWN_NAMESPACE) and key != DEPLOYMENT_KEY]
    if unknown:
        hint = f"write {DEPLOYMENT_KEY} and put all other keys below it"
        raise error_of([Problem(f"config.{key}", "is not a known key", hint) for key in unknown], where)
    if DEPLOYMENT_KEY not in config:
        raise ConfigError("the key is missing", where=f"{where}: config.{DEPLOYMENT_KEY}", hint="see stacks/README.md")
    deployment = parse_deployment(config[DEPLOYMENT_KEY], where)
    problems = list(stack_name_fits(deployment, stack))
    if problems:
        raise error_of(problems, where)
    return deployment


def _config_section(content: Any, where: str) -> dict[str, Any]:
    """Return the mapping below `config:`. Raises ConfigError if it is missing or not a mapping."""
    hint = f"write config: and {DEPLOYMENT_KEY}: below it, see stacks/README.md"
    if not isinstance(content, dict):
        raise ConfigError(f"the file is {_sort(content)}", where=where, hint=hint)
    if "config" not in content:
        raise ConfigError("is missing", where=f"{where}: config", hint=hint)
    config = content["config"]
    if not isinstance(config, dict):
        raise ConfigError(f"is {_sort(config)}", where=f"{where}: config", hint=f"write {DEPLOYMENT_KEY}: below it")
    return config


def _sort(value: Any) -> str:
    """Return a word for the value that is there instead of a mapping."""
    return "empty" if value is None else "a list" if isinstance(value, list) else "text, not a mapping"


def parse_deployment(value: Any, where: str) -> DeploymentConfig:
    """Return `value`, the mapping of the deployment key, as a checked config. Raises ConfigError that names `where`."""
    if not isinstance(value, dict):
        raise ConfigError(
            f"{DEPLOYMENT_KEY} is {_sort(value)}",
            where=where,
            hint="write keys below it: cloud, serving and more, see docs/config.md",
        )
    config = checked(value, where)
    problems = list(_files(config))
    if problems:
        raise error_of(problems, where)
    return config


def _files(config: DeploymentConfig) -> Iterator[Problem]:
    """Yield a problem for each file of the config that is missing or wrong."""
    servings = ((key, files_of_serving(serving)) for key, serving in servings_by_key(config).items())
    for section, problems in (*servings, ("gateway", files_of_gateway(config.gateway))):
        for problem in problems:
            yield replace(problem, key=f"{section}.{problem.key}")
    if config.inventory is not None:
        yield from file_is_there(config.inventory, "inventory")
    if config.machine.identity_file is not None:
        yield from file_is_there(config.machine.identity_file, "machine.identity_file", private=True)
