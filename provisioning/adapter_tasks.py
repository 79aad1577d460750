"""The tasks for adapter versions: `fab adapters:plan`, `apply`, `promote`, `rollback`, `list`, `prune`.

fabfile.py takes them up.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from fabric import task

from core.console import say
from provisioning.target import Target
from provisioning.task_end import end

__all__ = [
    "adapters_apply",
    "adapters_list",
    "adapters_plan",
    "adapters_promote",
    "adapters_prune",
    "adapters_rollback",
]

Function = TypeVar("Function", bound=Callable[..., None])

WHICH = {
    "stack": "Stack whose adapters are meant: those of stacks/adapters/<stack>.yaml.",
    "inventory": "File of hosts that exist already: the adapters of adapters/<stack>.yaml beside it.",
}


def _task(
    name: str, words: dict[str, str] | None = None, *, positional: tuple[str, ...] = ()
) -> Callable[[Function], Function]:
    """Return the decorator of the task `adapters:<name>`."""
    decorator: Callable[[Function], Function] = task(
        name=f"adapters:{name}", help=WHICH | (words or {}), positional=positional, auto_shortflags=False
    )
    return decorator


@_task("plan")
def adapters_plan(_: Any, *, stack: str = "", inventory: str = "") -> None:
    """Look at the listed adapters, and show what `adapters:apply` would change; changes nothing."""

    def run() -> int:
        target = Target(stack, inventory)
        say(f"→ plan the adapters of {target.name}")
        from provisioning.adapters import plan

        return plan(target)

    end(run)


@_task("apply")
def adapters_apply(_: Any, *, stack: str = "", inventory: str = "") -> None:
    """Bring all listed adapter versions to the hosts and load them beside those that are served; moves no name."""

    def run() -> int:
        target = Target(stack, inventory)
        say(f"→ bring the adapters of {target.name}; the engine goes on serving")
        from provisioning.adapters import apply

        return apply(target)

    end(run)


@_task("promote", {"version": "Name and version, e.g. contract@4."}, positional=("version",))
def adapters_promote(_: Any, version: str, *, stack: str = "", inventory: str = "") -> None:
    """Try a version, then have its name alone mean it; the version before stays loaded."""

    def run() -> int:
        target = Target(stack, inventory)
        say(f"→ promote {version} of {target.name}")
        from provisioning.adapters import promote

        return promote(target, version)

    end(run)


@_task(
    "rollback",
    {"adapter": "Name without a version, e.g. contract.", "to": "Version, e.g. contract@3; none: the one before."},
    positional=("adapter",),
)
def adapters_rollback(_: Any, adapter: str, *, to: str = "", stack: str = "", inventory: str = "") -> None:
    """Have a name mean the version before again, at once: no restart, no request fails."""

    def run() -> int:
        target = Target(stack, inventory)
        say(f"→ roll {adapter} of {target.name} back")
        from provisioning.adapters import rollback

        return rollback(target, adapter, to)

    end(run)


@_task("list", {"json": "As JSON."})
def adapters_list(_: Any, *, json: bool = False, stack: str = "", inventory: str = "") -> None:
    """Versions, which host serves them, what each name means since when, and folders that nobody needs."""

    def run() -> int:
        target = Target(stack, inventory)
        say(f"→ adapters of {target.name}")
        from provisioning.adapter_list import adapters_list

        return adapters_list(target, as_json=json)

    end(run)


@_task("prune")
def adapters_prune(_: Any, *, stack: str = "", inventory: str = "") -> None:
    """Remove folders of models and adapters from the hosts that are neither listed nor served."""

    def run() -> int:
        target = Target(stack, inventory)
        say(f"→ remove unused models and adapters of {target.name}")
        from provisioning.adapter_list import prune

        return prune(target)

    end(run)
