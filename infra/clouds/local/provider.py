"""The door between the Pulumi engine and infra/clouds/local/machine.py: a dynamic provider that keeps no state of its
own.

The engine's own process unpickles it by name, so it is a thin class, and imports what does the work when it is called.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pulumi.dynamic import CreateResult, DiffResult, ReadResult, ResourceProvider, UpdateResult

from core.errors import DeployError

IDENTIFYING = ("name", "stack")
"""What makes it another machine."""

CHANGEABLE = ("owner", "memory_mib", "cpus", "disk_gib", "public_keys")
"""What is changed in a machine that runs on."""


class LocalMachineProvider(ResourceProvider):
    """Makes, reads, changes and removes machines on this host."""

    serialize_as_secret_always = False  # nothing in it is secret, and state that can be read can be checked

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make the machine, or go on with one that was cut off or has died."""
        from infra.clouds.local import machine  # unpickled by name: see the module's docstring

        with _told_in_full():
            made = machine.create(
                str(props["name"]), stack=str(props["stack"]), owner=str(props["owner"]), **_size_and_keys(props)
            )
        return CreateResult(made.id, outs=_outs(made))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:  # noqa: ARG002  # the host knows better
        """Look at the machine; one that does not run and answer is reported as gone, so that `up` starts it again."""
        from infra.clouds.local import machine

        with _told_in_full():
            seen = machine.read(id_)
        return ReadResult(id_, _outs(seen)) if seen else ReadResult("", {})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Compare what was wished then and now."""
        replaces = [key for key in IDENTIFYING if _olds.get(key) != _news.get(key)]
        changes = [key for key in CHANGEABLE if _olds.get(key) != _news.get(key)]
        return DiffResult(changes=bool(replaces or changes), replaces=replaces)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Change limits and keys in place."""
        from infra.clouds.local import machine

        with _told_in_full():
            return UpdateResult(_outs(machine.update(_id, owner=str(_news["owner"]), **_size_and_keys(_news))))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Remove the machine and all that belongs to it."""
        from infra.clouds.local import machine

        with _told_in_full():
            machine.destroy(_id)


@contextmanager
def _told_in_full() -> Iterator[None]:
    """Let an error's detail through to the engine, which shows no more than the error's text."""
    try:
        yield
    except DeployError as error:
        raise RuntimeError("\n".join(filter(None, (str(error), error.detail)))) from None


def _size_and_keys(props: dict[str, Any]) -> dict[str, Any]:
    """Return limits and keys with the types that numbers lose on their way through the engine."""
    return {
        "memory_mib": int(props["memory_mib"]),
        "cpus": float(props["cpus"]),
        "disk_gib": float(props["disk_gib"]),
        "public_keys": tuple(str(key) for key in props["public_keys"]),
    }


def _outs(made: Any) -> dict[str, Any]:
    """Return what the engine keeps of a machine: what was wished, and the host that came of it."""
    from infra.clouds.local.machine import host_record

    desired = {key: getattr(made, key) for key in (*IDENTIFYING, *CHANGEABLE)}
    return {**desired, "public_keys": list(made.public_keys), "host": host_record(made)}
