"""One virtual machine: interface, address, instance, and a data volume if it has an engine.

Interface, address, volume and host key outlive the instance: a new one answers at the same address with the same key.
Does not create the network or the firewall, and does not know which model is served.
"""

from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_aws as aws

from catalog.machines import Machine
from infra.clouds.aws.api import tags
from infra.clouds.aws.program.data_volume import DEVICE, DataVolumeArgs, data_volume
from infra.clouds.program.host_key import host_key
from infra.clouds.program.user_data import user_data
from infra.config.models.machine import MachineSpec
from infra.config.rules.spot_and_access import CREDIT_FAMILIES

BOOT = Path(__file__).parent / "boot"
"""First-boot scripts that only AWS needs."""

MAX_USER_DATA_BYTES = 16384
"""EC2's limit; a test checks that the scripts stay below it."""


@dataclass(frozen=True, kw_only=True)
class NodeArgs:
    """Arguments of one node. Sizes in GiB."""

    machine: Machine
    spec: MachineSpec
    image: str
    subnet_id: pulumi.Input[str]
    has_ipv6: bool
    group_id: pulumi.Input[str]
    key_name: pulumi.Input[str]
    profile_name: pulumi.Input[str]
    root_gib: int
    kms_key: str | None
    """ARN; None: the account's default key for EBS."""
    data: DataVolumeArgs | None
    """None: the machine has no data volume."""
    ends_at: str
    """ISO 8601, UTC."""


class Node(pulumi.ComponentResource):
    """A host that answers SSH at a fixed address."""

    machine: Machine
    instance_id: pulumi.Output[str]
    address: pulumi.Output[str]
    private_address: pulumi.Output[str]
    host_public_key: pulumi.Output[str]

    def __init__(self, name: str, args: NodeArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("llm-deploy:aws:Node", name, None, opts)
        mine = pulumi.ResourceOptions(parent=self)
        key = host_key(name, mine)
        interface = aws.ec2.NetworkInterface(
            name,
            subnet_id=args.subnet_id,
            security_groups=[args.group_id],
            ipv6_address_count=1 if args.has_ipv6 else None,
            opts=mine,
        )
        address = aws.ec2.Eip(name, domain="vpc", network_interface=interface.id, opts=mine)
        volume = None if args.data is None else data_volume(name, args.data, mine)
        boot = _user_data(name, key.private, key.public, data_volume=volume is not None)
        instance = self._instance(name, args, interface, volume, boot)
        if volume is not None:
            aws.ec2.VolumeAttachment(
                name,
                device_name=DEVICE,
                volume_id=volume.id,
                instance_id=instance.id,
                # Detaching a mounted disk from a running host hangs, and a spot machine cannot be stopped first: the
                # disk is released when the instance is terminated.
                skip_destroy=True,
                opts=mine,
            )
        self.machine = args.machine
        self.instance_id = instance.id
        self.address = address.public_ip
        self.private_address = interface.private_ip
        self.host_public_key = key.public
        self.register_outputs({"instance_id": self.instance_id, "address": self.address})

    def _instance(
        self,
        name: str,
        args: NodeArgs,
        interface: aws.ec2.NetworkInterface,
        volume: aws.ebs.Volume | None,
        boot: pulumi.Output[str],
    ) -> aws.ec2.Instance:
        spot = args.spec.market == "spot"
        credit = args.spec.cpu_credits or "standard"
        return aws.ec2.Instance(
            name,
            ami=args.image,
            instance_type=args.machine.type,
            key_name=args.key_name,
            iam_instance_profile=args.profile_name,
            primary_network_interface={"network_interface_id": interface.id},
            instance_market_options=_one_time_spot(args.spec) if spot else None,
            instance_initiated_shutdown_behavior="terminate",
            credit_specification={"cpu_credits": credit} if args.machine.family in CREDIT_FAMILIES else None,
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                "http_put_response_hop_limit": 1,
                "instance_metadata_tags": "enabled",
            },
            root_block_device={
                "volume_type": "gp3",
                "volume_size": args.root_gib,
                "encrypted": True,
                "kms_key_id": args.kms_key,
                "delete_on_termination": True,
            },
            user_data=boot,
            tags={
                tags.HOST: name,
                tags.ENDS_AT: args.ends_at,
                **({tags.DATA_VOLUME: volume.id} if volume is not None else {}),
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                delete_before_replace=True,  # two instances cannot share an interface
                # Changed user data or another key for the root disk does not replace the host.
                ignore_changes=["userData", "rootBlockDevice.kmsKeyId"],
                # An on-demand machine is stopped to change its type; a one-time spot machine cannot be stopped.
                replace_on_changes=["instanceType"] if spot else [],
            ),
        )


def _user_data(
    name: str, private: pulumi.Output[str], public: pulumi.Output[str], *, data_volume: bool
) -> pulumi.Output[str]:
    """Return the user data as a secret, because it has the host key."""
    return pulumi.Output.all(private, public).apply(
        lambda halves: user_data(name, str(halves[0]), str(halves[1]), cloud_boot=BOOT, data_volume=data_volume)
    )


def _one_time_spot(spec: MachineSpec) -> aws.ec2.InstanceInstanceMarketOptionsArgsDict:
    """Return a request that ends with its instance: a persistent one would start new machines for ever."""
    price = spec.spot_max_usd_per_hour
    return {
        "market_type": "spot",
        "spot_options": {
            "spot_instance_type": "one-time",
            "instance_interruption_behavior": "terminate",
            **({"max_price": f"{price:.4f}"} if price is not None else {}),
        },
    }
