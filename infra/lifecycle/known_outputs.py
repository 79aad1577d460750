"""Updates a stack's outputs file from its state, so that `make provision` works after any `pulumi up`.

`make up` writes the file itself. Plain Pulumi, another checkout or a colleague changes only the state.
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
    """Write the outputs file from the state if it is missing or older. Remove it if the state has no outputs.

    If the backend does not answer, print a warning and keep the file. Raises DeployError if there is no file.
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
        say(f"  ! {error}; continuing with the outputs of the last `make up` in this checkout")


def _is_worth_asking(stack: str, written: float | None) -> bool:
    """Return whether the state may be newer. In our own backend, the times of two files show that."""
    if chosen_backend() is None:
        own = Backend(ours=True, settings={}, shown="", folder=own_folder()).state_file(PROJECT, stack)
        return own is not None and (written is None or own.stat().st_mtime > written)
    if written is None:
        return (STACKS_DIR / f"Pulumi.{stack}.yaml").exists()
    from tools.pulumi.cli import present_cli

    return present_cli() is not None  # fetching a CLI takes minutes, and perhaps nothing has changed


def _read_newer(stack: str, path: Path, written: float | None) -> None:
    # Imported here because most commands find the file new enough.
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
        stack_file_digest(stack).unlink(missing_ok=True)  # it is not known which stack file these come from
        say(f"  read the outputs of stack {stack} from its state in {held.backend.shown}")


def _of_machines_that_exist(held: "Stack") -> dict[str, Any]:
    """Return the outputs in the state. Empty for a cloud stack without machines, for example if it kept only a disk.

    The Pulumi engine does not change the outputs of such a stack until the next `up`.
    """
    from infra.contract.stack_placement import exported_placement

    values = held.outputs() or {}
    is_rented = exported_placement(values) is not None
    return values if values and (not is_rented or held.has_machines()) else {}
