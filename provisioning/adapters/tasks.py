"""The tasks for adapter versions: `fab adapters:plan`, `apply`, `promote`, `rollback`, `list`, `prune`.

fabfile.py imports them.
"""

from typing import Any

from core.console import say
from provisioning.cli.task import Names, fab_task
from provisioning.hosts.target import Target

WHICH = {
    "stack": "Name of the stack; stacks/adapters/<stack>.yaml lists its adapters.",
    "inventory": "File that lists existing hosts; adapters/<stack>.yaml beside it lists their adapters.",
}
RETIRE = {"retire": "Stop serving this name, which is no longer listed; may be given several times."}


@fab_task(WHICH | RETIRE, name="adapters:plan")
def adapters_plan(_: Any, *, retire: Names = (), stack: str = "", inventory: str = "") -> int:
    """Check the listed adapters, and show what `adapters:apply` would change; changes nothing."""
    target = Target(stack, inventory)
    say(f"→ plan the adapters of {target.name}")
    from provisioning.adapters.commands import plan

    return plan(target, retire)


@fab_task(WHICH | RETIRE, name="adapters:apply")
def adapters_apply(_: Any, *, retire: Names = (), stack: str = "", inventory: str = "") -> int:
    """Install all listed adapter versions on the hosts and load them beside the served ones; moves no name."""
    target = Target(stack, inventory)
    say(f"→ load the adapters of {target.name}; the engine keeps serving")
    from provisioning.adapters.commands import apply

    return apply(target, retire)


@fab_task(WHICH | {"version": "Name and version, e.g. contract@4."}, name="adapters:promote", positional=("version",))
def adapters_promote(_: Any, version: str, *, stack: str = "", inventory: str = "") -> int:
    """Try a version, then make its name alone mean it; the previous version stays loaded."""
    target = Target(stack, inventory)
    say(f"→ promote {version} of {target.name}")
    from provisioning.adapters.commands import promote

    return promote(target, version)


@fab_task(
    WHICH
    | {
        "adapter": "Name without a version, e.g. contract.",
        "to": "Version, e.g. contract@3; default: the previous one.",
    },
    name="adapters:rollback",
    positional=("adapter",),
)
def adapters_rollback(_: Any, adapter: str, *, to: str = "", stack: str = "", inventory: str = "") -> int:
    """Make a name mean its previous version again; no restart, and no request fails."""
    target = Target(stack, inventory)
    say(f"→ roll {adapter} of {target.name} back")
    from provisioning.adapters.commands import rollback

    return rollback(target, adapter, to)


@fab_task(WHICH | {"json": "As JSON."}, name="adapters:list")
def adapters_list(_: Any, *, json: bool = False, stack: str = "", inventory: str = "") -> int:
    """List versions, the hosts that serve them, the version that each name means, and unused folders."""
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
    """Print a manifest entry for an adapter's files; changes nothing."""
    target = Target(stack, inventory)
    say(f"→ entry for {folder}")
    from provisioning.adapters.entry import entry

    return entry(target, folder)


@fab_task(WHICH, name="adapters:manifest")
def adapters_manifest(_: Any, *, stack: str = "", inventory: str = "") -> int:
    """Print a manifest with the adapters of the stack file; changes nothing."""
    target = Target(stack, inventory)
    say(f"→ manifest of the adapters in the file of {target.name}")
    from provisioning.adapters.entry import manifest

    return manifest(target)


@fab_task(WHICH, name="adapters:prune")
def adapters_prune(_: Any, *, stack: str = "", inventory: str = "") -> int:
    """Remove the folders of models and adapters that are neither listed nor served."""
    target = Target(stack, inventory)
    say(f"→ remove unused models and adapters of {target.name}")
    from provisioning.adapters.listing import prune

    return prune(target)
