"""How a task of fab is written: a function that returns an exit status, its options by name, errors told in words.

Cheap to import: what a task does lies in a module that it imports after its first words.
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
    """Return the decorator of a task with the options `words`, of which those with the default () may be repeated.

    No option has a short flag, as a new option would change it. fab ends with the status that the function returns.
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
    """Return what `text` says. Raises UsageError for anything but a number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"not a whole number: {text!r}", where=f"--{option}", hint="write 1 or more")
    return int(text)


def chosen_roles(text: str) -> list[str]:
    """Return the roles that `text` names, in their order. Raises UsageError for one that there is not."""
    names = text.split(",")
    for name in names:
        if name not in ROLES:
            from core.rules import one_of  # a package of its own weight, for a mistake only

            raise UsageError(f"there is no role {name!r}", where="--roles", hint=one_of(ROLES, name))
    return [role for role in ROLES if role in names]
