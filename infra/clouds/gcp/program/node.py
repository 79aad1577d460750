"""One virtual machine: address, instance, and a data disk if it has an engine.

Address, disk and host key outlive the instance: a new one answers at the same address with the same key. Does not
create the network or the firewall, and does not know which model is served.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pulumi
import pulumi_gcp as gcp

from catalog import gcp_shapes
from catalog.machines import Machine
from infra.clouds.gcp.api import labels
from infra.clouds.gcp.program.data_disk import DEVICE_NAME, DataDiskArgs, data_disk
from infra.clouds.program.host_key import HostKey, host_key
from infra.clouds.program.host_records import LOGIN_USER
from infra.clouds.program.user_data import user_data

if TYPE_CHECKING:
    from pulumi_gcp.compute import (
        InstanceAttachedDiskArgsDict,
        InstanceGuestAcceleratorArgsDict,
        InstanceNetworkInterfaceArgsDict,
        InstanceSchedulingArgsDict,
    )

BOOT = Path(__file__).parent / "boot"
"""First-boot scripts that only GCP needs."""

ENDS_AT = "llm-deploy-ends-at"
"""Metadata key that boot/end-of-life.sh reads. GCP does not allow a colon in keys."""

IGNORED = ('metadata["user-data"]', 'metadata["ssh-keys"]')
ENDS_BY = "scheduling.terminationTime"

GUEST_AGENT = {"/etc/default/instance_configs.cfg": "[InstanceSetup]\nset_host_keys = false\n"}
"""Google's guest agent would otherwise create new host keys on first boot."""

TIER = "PREMIUM"


@dataclass(frozen=True, kw_only=True)
class NodeArgs:
    """Arguments of one node. Sizes in GiB."""

    physical_name: str
    machine: Machine
    spot: bool
    image: str
    zone: str
    region: str
    subnet_id: pulumi.Input[str]
    has_ipv6: bool
    login_key: str
    account_email: pulumi.Input[str]
    scopes: tuple[str, ...]
    schedule_id: pulumi.Input[str] | None
    root_gib: int
    data: DataDiskArgs | None
    """None: the machine has no data disk."""
    ends_at: str
    """When GCP deletes the instance. ISO 8601, UTC."""
    keeps_end: bool
    """Whether to ignore a new `ends_at`: the plugin compares text, and another notation replaces the instance."""
    powers_off_at: str
    """When the host powers itself off if GCP has not deleted it. ISO 8601, UTC."""


class Node(pulumi.ComponentResource):
    """A host that answers SSH at a fixed address."""

    machine: Machine
    instance_id: pulumi.Output[str]
    address: pulumi.Output[str]
    private_address: pulumi.Output[str]
    host_public_key: pulumi.Output[str]

    def __init__(self, name: str, args: NodeArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("llm-deploy:gcp:Node", name, None, opts)
        mine = pulumi.ResourceOptions(parent=self)
        key = host_key(name, mine)
        address = gcp.compute.Address(
            name,
            name=args.physical_name,
            region=args.region,
            address_type="EXTERNAL",
            network_tier=TIER,
            opts=mine,
        )
        disk = None if args.data is None else data_disk(name, args.data, mine)
        instance = self._instance(name, args, address, disk, key)
        self.machine = args.machine
        self.instance_id = instance.id
        self.address = address.address
        self.private_address = instance.network_interfaces.apply(lambda found: str(found[0].network_ip))
        self.host_public_key = key.public
        self.register_outputs({"instance_id": self.instance_id, "address": self.address})

    def _instance(
        self, name: str, args: NodeArgs, address: gcp.compute.Address, disk: gcp.compute.Disk | None, key: HostKey
    ) -> gcp.compute.Instance:
        machine = args.machine
        return gcp.compute.Instance(
            name,
            name=args.physical_name,
            zone=args.zone,
            machine_type=gcp_shapes.machine_type(machine.type),
            guest_accelerators=_accelerators(machine),
            boot_disk={
                "auto_delete": True,
                "initialize_params": {
                    "image": args.image,
                    "size": args.root_gib,
                    "type": gcp_shapes.disk_type(machine.type),
                    # An instance cannot change its family; a change of this label replaces it. (The resource
                    # option for it, replacement_trigger, does not pass through transforms in pulumi 3.258.)
                    "labels": {labels.FAMILY: gcp_shapes.family(machine.type)},
                },
            },
            attached_disks=[] if disk is None else [_attached(disk)],
            network_interfaces=[_interface(args, address)],
            scheduling=_scheduling(args),
            service_account={"email": args.account_email, "scopes": list(args.scopes)},
            shielded_instance_config={
                "enable_secure_boot": gcp_shapes.secure_boot(machine),
                "enable_vtpm": True,
                "enable_integrity_monitoring": True,
            },
            metadata={
                "block-project-ssh-keys": "true",  # the project's keys cannot log in
                "enable-oslogin": "false",  # it would ignore the key that the stack brings
                "serial-port-enable": "false",
                "ssh-keys": f"{LOGIN_USER}:{args.login_key}",
                "user-data": _user_data(name, key, data_volume=disk is not None),
                ENDS_AT: args.powers_off_at,
            },
            # Without a schedule, somebody stopped it and its disks cost money: `up` starts it again.
            desired_status="RUNNING" if args.schedule_id is None else None,
            resource_policies=args.schedule_id,
            labels={labels.HOST: name},
            allow_stopping_for_update=True,
            deletion_protection=False,
            opts=pulumi.ResourceOptions(
                parent=self,
                delete_before_replace=True,  # two instances cannot share address, disk or name
                # Neither a changed first boot nor another person's SSH key replaces a host.
                ignore_changes=[*IGNORED, *([ENDS_BY] if args.keeps_end else [])],
            ),
        )


def _attached(disk: gcp.compute.Disk) -> "InstanceAttachedDiskArgsDict":
    return {"source": disk.id, "device_name": DEVICE_NAME, "mode": "READ_WRITE"}


def _interface(args: NodeArgs, address: gcp.compute.Address) -> "InstanceNetworkInterfaceArgsDict":
    interface: InstanceNetworkInterfaceArgsDict = {
        "subnetwork": args.subnet_id,
        "access_configs": [{"nat_ip": address.address, "network_tier": TIER}],
    }
    if args.has_ipv6:
        interface |= {"stack_type": "IPV4_IPV6", "ipv6_access_configs": [{"network_tier": TIER}]}
    return interface


def _accelerators(machine: Machine) -> "list[InstanceGuestAcceleratorArgsDict] | None":
    accelerator = gcp_shapes.accelerator_type(machine.type)
    return [{"type": accelerator, "count": machine.gpu_count}] if accelerator else None


def _scheduling(args: NodeArgs) -> "InstanceSchedulingArgsDict":
    """Return how the instance ends: GCP deletes it at the end of its life, and a spot machine also on preemption.

    GPU instances cannot live-migrate, so host maintenance terminates them.
    """
    moves = not args.spot and args.machine.gpu is None
    return {
        "provisioning_model": "SPOT" if args.spot else "STANDARD",
        "preemptible": args.spot,
        "automatic_restart": not args.spot,
        "on_host_maintenance": "MIGRATE" if moves else "TERMINATE",
        "instance_termination_action": "DELETE",
        "termination_time": args.ends_at,  # a time: a duration would restart at each start
    }


def _user_data(name: str, key: HostKey, *, data_volume: bool) -> pulumi.Output[str]:
    """Return the user data as a secret, because it has the host key."""
    return pulumi.Output.all(key.private, key.public).apply(
        lambda halves: user_data(
            name, str(halves[0]), str(halves[1]), cloud_boot=BOOT, data_volume=data_volume, files=GUEST_AGENT
        )
    )
