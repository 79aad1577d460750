"""What is left of a stack, by asking the host or the cloud itself and never the Pulumi state.

`find` changes nothing. `remove` ends what the state does not know of: what a killed engine made and could not note.
"""

from collections.abc import Callable

from catalog.clouds import RENTED
from infra.clouds import cloud as rented
from infra.contract.stack_placement import Placement, read_placement


def hosts_stay(cloud: str) -> bool:
    """Return whether the hosts of a stack are not ours to remove: they go on serving after a teardown."""
    return cloud == "existing"


def find(cloud: str, stack: str) -> list[str]:
    """Return what is left of this checkout's `stack`, a line each; empty when nothing is."""
    if cloud not in RENTED:
        return _FINDERS[cloud](stack)
    asked = _rented(cloud, stack)
    return rented.find(*asked) if asked else []


def kept(cloud: str, stack: str) -> list[str]:
    """Return what was left in place because the stack's file says so, with what it costs, a line each."""
    asked = _rented(cloud, stack)
    return rented.kept(*asked) if asked else []


def remove(cloud: str, stack: str, deadline_s: float) -> None:
    """Remove what `find` would name. Raises DeployError when it cannot, or a cloud takes longer than `deadline_s`."""
    if cloud == "local":
        from infra.clouds.local.machine import destroy_stack

        destroy_stack(stack)
    asked = _rented(cloud, stack)
    if asked:
        rented.remove(*asked, deadline_s)


def _rented(cloud: str, stack: str) -> tuple[rented.Cloud, Placement] | None:
    """Return whom to ask about what this checkout noted."""
    return rented.holder_of(cloud, read_placement(stack))


def _local(stack: str) -> list[str]:
    from infra.clouds.local.orphans import of_stack

    return of_stack(stack)


def _existing(_stack: str) -> list[str]:
    return []  # nothing of ours was made


_FINDERS: dict[str, Callable[[str], list[str]]] = {"local": _local, "existing": _existing}
