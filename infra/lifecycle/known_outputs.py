"""Keeps the outputs file of a stack as new as its state, so that every way of `pulumi up` leads on to `make provision`.

`make up` writes the file itself. Plain Pulumi, another checkout or a colleague changes the state alone.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.console import say
from core.errors import DeployError
from core.paths import STACKS_DIR, outputs_file, stack_file_digest
from infra.automation.backend import PROJECT, Backend, chosen_backend, own_folder

if TYPE_CHECKING:
    from infra.automation.stack import Stack


def bring_up_to_date(stack: str) -> None:
    """Write the outputs file from the state, when it is missing or older. Remove it when the state has no outputs.

    A backend that does not answer is a warning while there is a file. Raises DeployError when there is none.
    """
    path = outputs_file(stack)
    written = path.stat().st_mtime if path.exists() else None
    if not _is_worth_asking(stack, written):
        return
    try:
        _read_newer(stack, path, written)
    except DeployError as error:
        if written is None:
            raise
        say(f"  ! {error}; going on with the outputs of the last `make up` here")


def _is_worth_asking(stack: str, written: float | None) -> bool:
    """Return whether the state may have something newer. For our own backend two looks at files say it."""
    if chosen_backend() is None:
        own = Backend(ours=True, settings={}, shown="", folder=own_folder()).state_file(PROJECT, stack)
        return own is not None and (written is None or own.stat().st_mtime > written)
    if written is None:
        return (STACKS_DIR / f"Pulumi.{stack}.yaml").exists()
    from tools.pulumi.cli import present_cli

    return present_cli() is not None  # nobody waits minutes for one, to learn that nothing has changed


def _read_newer(stack: str, path: Path, written: float | None) -> None:
    # Loaded where they are needed: the usual command finds its file new enough.
    from infra.automation.stack import beside_others
    from infra.lifecycle.saved import save_outputs

    is_new = not path.parent.exists()
    held = beside_others(stack)
    try:
        changed = held.changed_at()
        if changed is None or (written is not None and changed <= written):
            return
        before = path.read_bytes() if written is not None else b""
        values = _of_machines_that_exist(held)
        if values:
            save_outputs(stack, values)
        else:
            path.unlink(missing_ok=True)
    finally:
        if is_new and not path.exists():
            shutil.rmtree(path.parent, ignore_errors=True)
    if values and path.read_bytes() != before:
        stack_file_digest(stack).unlink(missing_ok=True)  # nobody knows from which file these come
        say(f"  read the outputs of stack {stack} from its state in {held.backend.shown}")


def _of_machines_that_exist(held: "Stack") -> dict[str, Any]:
    """Return the outputs in the state; none of a cloud stack whose machines are gone, which keeps a disk, say.

    The Pulumi engine leaves a stack's outputs as they were until the next `up`.
    """
    from infra.contract.stack_placement import exported_placement

    values = held.outputs() or {}
    is_rented = exported_placement(values) is not None
    return values if values and (not is_rented or held.has_machines()) else {}
