"""A dynamic Pulumi provider for local machines. It calls infra/clouds/local/machine.py and keeps no state itself.

The state holds it as a pickle that names this module and the class. The Pulumi engine imports both in another process,
so the class is thin, and imports what does the work when it is called. If this module moves, its old path must stay
importable: see infra/local/provider.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pulumi.dynamic import CreateResult, DiffResult, ReadResult, ResourceProvider, UpdateResult

from core.errors import DeployError

IDENTIFYING = ("name", "stack")
"""A change of one of these keys replaces the machine."""

CHANGEABLE = ("owner", "memory_mib", "cpus", "disk_gib", "public_keys")
"""These keys change in place, while the machine runs."""

PROVIDER = "__provider"
"""Key under which Pulumi keeps the pickle of the provider. If it differs, an update in place writes the new one."""


class LocalMachineProvider(ResourceProvider):
    """Makes, reads, changes and removes machines on this host."""

    serialize_as_secret_always = False  # nothing in it is secret, and state that can be read can be checked

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make the machine, or complete one that was interrupted or has died."""
        from infra.clouds.local import machine  # imported late: see the module's docstring

        with _with_detail():
            made = machine.create(
                str(props["name"]), stack=str(props["stack"]), owner=str(props["owner"]), **_size_and_keys(props)
            )
        return CreateResult(made.id, outs=_outs(made))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:  # noqa: ARG002  # the host is asked instead
        """Return the machine. One that does not run and answer is reported as missing, so that `up` starts it again."""
        from infra.clouds.local import machine

        with _with_detail():
            seen = machine.read(id_)
        return ReadResult(id_, _outs(seen)) if seen else ReadResult("", {})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Compare the inputs of the last `up` with those of this one."""
        replaces = [key for key in IDENTIFYING if _olds.get(key) != _news.get(key)]
        changes = [key for key in (*CHANGEABLE, PROVIDER) if _olds.get(key) != _news.get(key)]
        return DiffResult(changes=bool(replaces or changes), replaces=replaces)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Change limits and keys in place."""
        from infra.clouds.local import machine

        with _with_detail():
            return UpdateResult(_outs(machine.update(_id, owner=str(_news["owner"]), **_size_and_keys(_news))))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Remove the machine and everything that belongs to it."""
        from infra.clouds.local import machine

        with _with_detail():
            machine.destroy(_id)


@contextmanager
def _with_detail() -> Iterator[None]:
    """Put an error's detail into its text, because the Pulumi engine shows only the text."""
    try:
        yield
    except DeployError as error:
        raise RuntimeError("\n".join(filter(None, (str(error), error.detail)))) from None


def _size_and_keys(props: dict[str, Any]) -> dict[str, Any]:
    """Return limits and keys in their own types: the Pulumi engine turns every number into a float."""
    return {
        "memory_mib": int(props["memory_mib"]),
        "cpus": float(props["cpus"]),
        "disk_gib": float(props["disk_gib"]),
        "public_keys": tuple(str(key) for key in props["public_keys"]),
    }


def _outs(made: Any) -> dict[str, Any]:
    """Return what the state holds of a machine: its inputs, and the host record."""
    from infra.clouds.local.machine import host_record

    desired = {key: getattr(made, key) for key in (*IDENTIFYING, *CHANGEABLE)}
    return {**desired, "public_keys": list(made.public_keys), "host": host_record(made)}
