"""The decorator for tasks of fab: a function that returns an exit status, with named options and one-line errors.

Cheap to import: a task imports the module that does its work after its first printed line.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import fabric
from invoke.exceptions import Exit

from core.errors import UsageError, run_cli
from provisioning.roles import ROLES

Names = Sequence[str]

ALL_ROLES = ",".join(ROLES)

TARGET = {
    "stack": "Name of the stack; `up` made its machines.",
    "inventory": "YAML or JSON file that lists existing hosts, in place of a stack.",
}
HOSTS = TARGET | {"host": "Only this host; may be given several times."}


def fab_task(
    words: Mapping[str, str], *, name: str | None = None, positional: Names = ()
) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Return the decorator of a task with the options `words`; those with the default () may be repeated.

    Options have no short flags, because a new option would change them. fab exits with the function's status.
    """

    def decorate(function: Callable[..., int]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*arguments: Any, **options: Any) -> None:
            status = run_cli(lambda: function(*arguments, **options))
            if status:
                raise Exit(code=status)

        seen = inspect.signature(function)
        repeated = [each.name for each in seen.parameters.values() if each.default == ()]
        # invoke takes the type of an option from its default, and would make a tuple of a host's letters.
        shown = [each.replace(default=[]) if each.name in repeated else each for each in seen.parameters.values()]
        run.__signature__ = seen.replace(parameters=shown)  # type: ignore[attr-defined]
        make = fabric.task(name=name, help=dict(words), positional=positional, iterable=repeated, auto_shortflags=False)
        made: Callable[..., None] = make(run)
        return made

    return decorate


def number(option: str, text: str) -> int:
    """Return `text` as a whole number. Raises UsageError for anything else, and below 1."""
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"not a whole number: {text!r}", where=f"--{option}", hint="write 1 or more")
    return int(text)


def chosen_roles(text: str) -> list[str]:
    """Return the roles that `text` names, in their order. Raises UsageError for an unknown one."""
    names = text.split(",")
    for name in names:
        if name not in ROLES:
            from core.reading.rules import one_of  # imported here: slow, and needed only for an error

            raise UsageError(f"there is no role {name!r}", where="--roles", hint=one_of(ROLES, name))
    return [role for role in ROLES if role in names]
