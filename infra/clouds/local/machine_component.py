"""One machine on this host as a Pulumi component: a child resource, and the host as output."""

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.dynamic import Resource

from infra.clouds.local.provider import LocalMachineProvider


@dataclass(frozen=True, kw_only=True)
class LocalMachineArgs:
    """Inputs of one machine."""

    name: str
    stack: str
    owner: str
    """The checkout's state folder."""
    memory_mib: int
    cpus: float
    disk_gib: float
    public_keys: tuple[str, ...]


class LocalMachine(pulumi.ComponentResource):
    """A running machine that answers SSH."""

    host: pulumi.Output[dict[str, Any]]
    """In the shape of infra.contract.outputs.HostRecord."""

    def __init__(self, args: LocalMachineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llm-deploy:local:Machine", args.name, None, opts)
        container = _Container(args, pulumi.ResourceOptions(parent=self))
        self.host = container.host
        self.register_outputs({"host": self.host})


class _Container(Resource, module="local", name="Container"):
    """The systemd-nspawn machine itself."""

    host: pulumi.Output[dict[str, Any]]

    def __init__(self, args: LocalMachineArgs, opts: pulumi.ResourceOptions) -> None:
        desired = {
            "name": args.name,
            "stack": args.stack,
            "owner": args.owner,
            "memory_mib": args.memory_mib,
            "cpus": args.cpus,
            "disk_gib": args.disk_gib,
            "public_keys": list(args.public_keys),
        }
        super().__init__(LocalMachineProvider(), args.name, {**desired, "host": None}, opts)
