"""The Pulumi program of cloud `aws`: declares the resources in order, and returns the hosts."""

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from catalog.aws_partitions import partition_of
from catalog.machines import placed_machine
from infra.clouds.aws.api.tags import own_tags, with_tags
from infra.clouds.aws.placing.disk_speed import gp3_speed
from infra.clouds.aws.program.firewall import Firewall, FirewallArgs
from infra.clouds.aws.program.guard_rules import GUARDS
from infra.clouds.aws.program.identity import Identity, IdentityArgs
from infra.clouds.aws.program.network import Network, NetworkArgs
from infra.clouds.aws.program.node import Node, NodeArgs
from infra.clouds.aws.program.timetable import Timetable, TimetableArgs
from infra.clouds.program.host_records import host_records, proved
from infra.clouds.program.login_key import login_key
from infra.clouds.program.naming import host_names, physical_name
from infra.clouds.sizes import data_gib
from infra.config import DeploymentConfig
from infra.contract.deployment import Deployment
from infra.contract.stack_placement import KnownPlacement, Placement

if TYPE_CHECKING:
    from infra.clouds.aws.program.bucket import Bucket

MAX_RETRIES = 5
"""How often the provider retries a call. Its default of 25 would wait minutes in a zone that is out of stock."""


def deploy_stack(config: DeploymentConfig, placement: KnownPlacement) -> Deployment:
    """Declare the resources of a stack at its placement."""
    stack = pulumi.get_stack()
    tags = config.tags | own_tags(stack, placement.id)
    GUARDS.install(lambda kind, name, props: with_tags(kind, name, props, tags), (config.serving.port,))
    opts = pulumi.ResourceOptions(provider=_provider(placement))
    physical = physical_name(stack, placement)
    network = Network(stack, _network_args(config, placement), opts)
    firewall = Firewall(stack, _firewall_args(config, physical, network), opts)
    bucket = _bucket(config, stack, physical, partition_of(placement.region), opts)
    identity = Identity(stack, _identity_args(config, physical, bucket), opts)
    machine, login = placed_machine("aws", placement.machine_type), login_key(stack, config.machine.identity_file)
    ends_at = placement.ends_at(config.lifetime.ttl_hours)
    args = NodeArgs(
        machine=machine,
        spec=config.machine,
        image=placement.image,
        zone=placement.zone,
        subnet_id=network.subnet_ids[placement.zone],
        has_ipv6=network.has_ipv6,
        group_id=firewall.group_id,
        key_name=_key_pair(stack, physical, login.public, opts).key_name,
        profile_name=identity.profile_name,
        root_gib=config.storage.root_gib,
        data_gib=data_gib(config),
        data_speed=gp3_speed(config),
        kms_key=config.storage.kms_key,
        keep_data="data_volume" in config.storage.keep_on_down,
        blank_data=bool(placement.blank_at),
        ends_at=f"{ends_at:%Y-%m-%dT%H:%M:%SZ}",
    )
    nodes = {name: Node(name, args, opts) for name in host_names(stack, config.machine.count)}
    Timetable(
        stack,
        TimetableArgs(
            physical_name=physical,
            partition=partition_of(placement.region),
            region=placement.region,
            id=placement.id,
            instance_ids=[node.instance_id for node in nodes.values()],
            ends_at=ends_at,
            weekly=config.lifetime.weekly,
            iam=config.iam,
        ),
        opts,
    )
    _budget(config, stack, physical, opts)
    hosts = host_records(config, machine, login.private_file, args.ends_at, nodes)
    return Deployment(hosts=hosts, placement=proved(placement, [node.instance_id for node in nodes.values()]))


def _provider(placement: Placement) -> aws.Provider:
    """Return a provider with region and account set explicitly, never taken from the login."""
    return aws.Provider(
        "aws",
        region=placement.region,
        allowed_account_ids=[placement.account] if placement.account else None,
        max_retries=MAX_RETRIES,
    )


def _network_args(config: DeploymentConfig, placement: Placement) -> NetworkArgs:
    return NetworkArgs(
        region=str(config.region),
        cidr=config.network.cidr,
        zones=placement.zones,
        existing_id=config.network.id,
        existing_subnets=placement.subnets,
    )


def _firewall_args(config: DeploymentConfig, physical: str, network: Network) -> FirewallArgs:
    return FirewallArgs(
        physical_name=physical,
        vpc_id=network.vpc_id,
        ssh_cidrs=config.network.ssh_cidrs,
        client_cidrs=config.network.client_cidrs,
        clients_from_anywhere=config.network.clients_from_anywhere,
        gateway_port=config.gateway.port,
    )


def _identity_args(config: DeploymentConfig, physical: str, bucket: "Bucket | None") -> IdentityArgs:
    return IdentityArgs(
        physical_name=physical,
        iam=config.iam,
        bucket_arn=bucket.arn if bucket else None,
        bucket_prefix=config.storage.bucket.prefix if config.storage.bucket else "",
    )


def _key_pair(stack: str, physical: str, public_key: str, opts: pulumi.ResourceOptions) -> aws.ec2.KeyPair:
    return aws.ec2.KeyPair(
        stack,
        key_name=physical,
        public_key=public_key,
        # Another person has another SSH key; that must not replace the hosts.
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(ignore_changes=["publicKey"])),
    )


def _bucket(
    config: DeploymentConfig, stack: str, physical: str, partition: str, opts: pulumi.ResourceOptions
) -> "Bucket | None":
    spec = config.storage.bucket
    if spec is None:
        return None
    # The SDK's module for buckets takes a third of a second to load, and most stacks have no bucket.
    from infra.clouds.aws.program.bucket import Bucket, BucketArgs

    args = BucketArgs(
        physical_name=physical,
        existing_name=spec.name,
        partition=partition,
        keep="bucket" in config.storage.keep_on_down,
    )
    return Bucket(stack, args, opts)


def _budget(config: DeploymentConfig, stack: str, physical: str, opts: pulumi.ResourceOptions) -> None:
    spec = config.lifetime.budget
    if spec is not None:
        from infra.clouds.aws.program.budget import budget

        budget(stack, physical, spec, opts)
