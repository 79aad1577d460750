"""The tasks for adapter versions: `fab adapters:plan`, `apply`, `promote`, `rollback`, `list`, `prune`.

fabfile.py takes them up.
"""

from typing import Any

from core.console import say
from provisioning.cli.task import Names, fab_task
from provisioning.hosts.target import Target

WHICH = {
    "stack": "Stack whose adapters are meant: those of stacks/adapters/<stack>.yaml.",
    "inventory": "File of hosts that exist already: the adapters of adapters/<stack>.yaml beside it.",
}
RETIRE = {"retire": "Name that is no longer listed and shall be served no more; may be given several times."}


@fab_task(WHICH | RETIRE, name="adapters:plan")
def adapters_plan(_: Any, *, retire: Names = (), stack: str = "", inventory: str = "") -> int:
    """Look at the listed adapters, and show what `adapters:apply` would change; changes nothing."""
    target = Target(stack, inventory)
    say(f"→ plan the adapters of {target.name}")
    from provisioning.adapters.commands import plan

    return plan(target, retire)


@fab_task(WHICH | RETIRE, name="adapters:apply")
def adapters_apply(_: Any, *, retire: Names = (), stack: str = "", inventory: str = "") -> int:
    """Bring all listed adapter versions to the hosts and load them beside those that are served; moves no name."""
    target = Target(stack, inventory)
    say(f"→ bring the adapters of {target.name}; the engine goes on serving")
    from provisioning.adapters.commands import apply

    return apply(target, retire)


@fab_task(WHICH | {"version": "Name and version, e.g. contract@4."}, name="adapters:promote", positional=("version",))
def adapters_promote(_: Any, version: str, *, stack: str = "", inventory: str = "") -> int:
    """Try a version, then have its name alone mean it; the version before stays loaded."""
    target = Target(stack, inventory)
    say(f"→ promote {version} of {target.name}")
    from provisioning.adapters.commands import promote

    return promote(target, version)


@fab_task(
    WHICH
    | {"adapter": "Name without a version, e.g. contract.", "to": "Version, e.g. contract@3; none: the one before."},
    name="adapters:rollback",
    positional=("adapter",),
)
def adapters_rollback(_: Any, adapter: str, *, to: str = "", stack: str = "", inventory: str = "") -> int:
    """Have a name mean the version before again, at once: no restart, no request fails."""
    target = Target(stack, inventory)
    say(f"→ roll {adapter} of {target.name} back")
    from provisioning.adapters.commands import rollback

    return rollback(target, adapter, to)


@fab_task(WHICH | {"json": "As JSON."}, name="adapters:list")
def adapters_list(_: Any, *, json: bool = False, stack: str = "", inventory: str = "") -> int:
    """Versions, which host serves them, what each name means since when, and folders that nobody needs."""
    target = Target(stack, inventory)
    say(f"→ adapters of {target.name}")
    from provisioning.adapters.listing import adapters_list

    return adapters_list(target, as_json=json)


@fab_task(
    WHICH | {"folder": "Folder with the files that peft saved."},
    name="adapters:entry",
    positional=("folder",),
)
def adapters_entry(_: Any, folder: str, *, stack: str = "", inventory: str = "") -> int:
    """Print the manifest's entry for an adapter, ready to be taken over; changes nothing."""
    target = Target(stack, inventory)
    say(f"→ entry for {folder}")
    from provisioning.adapters.entry import entry

    return entry(target, folder)


@fab_task(WHICH, name="adapters:manifest")
def adapters_manifest(_: Any, *, stack: str = "", inventory: str = "") -> int:
    """Print a manifest of the adapters that the stack's own file lists; changes nothing."""
    target = Target(stack, inventory)
    say(f"→ manifest of what {target.name} lists itself")
    from provisioning.adapters.entry import manifest

    return manifest(target)


@fab_task(WHICH, name="adapters:prune")
def adapters_prune(_: Any, *, stack: str = "", inventory: str = "") -> int:
    """Remove folders of models and adapters from the hosts that are neither listed nor served."""
    target = Target(stack, inventory)
    say(f"→ remove unused models and adapters of {target.name}")
    from provisioning.adapters.listing import prune

    return prune(target)
