"""The Pulumi program of cloud `aws`: declares the resources in order, and returns the hosts."""

from dataclasses import replace
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from catalog.aws_partitions import partition_of
from catalog.machines import placed_machine
from core.ports import DOOR_PORTS
from infra.clouds.aws.api.tags import own_tags, with_tags
from infra.clouds.aws.placing.disk_speed import gp3_speed
from infra.clouds.aws.program.data_volume import DataVolumeArgs
from infra.clouds.aws.program.firewall import Firewall, FirewallArgs
from infra.clouds.aws.program.guard_rules import GUARDS
from infra.clouds.aws.program.identity import Identity, IdentityArgs
from infra.clouds.aws.program.network import Network, NetworkArgs
from infra.clouds.aws.program.node import Node, NodeArgs
from infra.clouds.aws.program.timetable import Timetable, TimetableArgs
from infra.clouds.program.guards import ClosedPorts
from infra.clouds.program.host_records import host_records, proved
from infra.clouds.program.login_key import login_key
from infra.clouds.program.naming import GATEWAY_SUFFIX, gateway_name, host_endings, physical_name
from infra.clouds.program.notices import notice_folder, notice_prefix
from infra.clouds.sizes import data_gib, gateway_root_gib
from infra.config import DeploymentConfig
from infra.config.models.machine import MachineSpec
from infra.contract.deployment import Deployment
from infra.contract.stack_placement import GatewayPlacement, KnownPlacement, Placement

if TYPE_CHECKING:
    from infra.clouds.aws.program.bucket import Bucket

MAX_RETRIES = 5
"""How often the provider retries a call. Its default of 25 would wait minutes in a zone that is out of stock."""


def deploy_stack(config: DeploymentConfig, placement: KnownPlacement) -> Deployment:
    """Declare the resources of a stack at its placement."""
    stack = pulumi.get_stack()
    tags = config.tags | own_tags(stack, placement.id)
    GUARDS.install(lambda kind, name, props: with_tags(kind, name, props, tags), _closed_ports(config, placement))
    opts = pulumi.ResourceOptions(provider=_provider(placement))
    physical = physical_name(stack, placement)
    network = Network(stack, _network_args(config, placement), opts)
    firewall = Firewall(stack, _firewall_args(config, placement, physical, network), opts)
    bucket = _bucket(config, stack, physical, partition_of(placement.region), opts)
    prefix = notice_prefix(config, physical)
    identity = Identity(stack, _identity_args(config, f"{physical}-host", bucket, prefix), opts)
    login, ends_at = login_key(stack, config.machine.identity_file), placement.ends_at(config.lifetime.ttl_hours)
    args = NodeArgs(
        machine=placed_machine("aws", placement.machine_type),
        spec=config.machine,
        image=placement.image,
        subnet_id=network.subnet_ids[placement.zone],
        has_ipv6=network.has_ipv6,
        group_id=firewall.group_id,
        key_name=_key_pair(stack, physical, login.public, opts).key_name,
        profile_name=identity.profile_name,
        root_gib=config.storage.root_gib,
        kms_key=config.storage.kms_key,
        data=None,
        ends_at=f"{ends_at:%Y-%m-%dT%H:%M:%SZ}",
    )
    nodes, instance_ids, pools = dict[str, Node](), dict[str, pulumi.Output[str]](), dict[str, str]()
    for pool, view in config.by_pool.items():
        of_pool = _engine_args(view, placement, placement.of_pool(pool), args)
        for ending in host_endings(pool, view.machine.count):
            name = f"{stack}-{ending}"
            nodes[name], pools[name] = Node(name, of_pool, opts), pool
            instance_ids[ending] = nodes[name].instance_id
    gateway = None
    if placement.gateway is not None and firewall.gateway_group_id is not None:
        gateway = gateway_name(stack)
        own = Identity(gateway, _identity_args(config, f"{physical}{GATEWAY_SUFFIX}", None), opts)
        here = replace(args, group_id=firewall.gateway_group_id, profile_name=own.profile_name)
        nodes[gateway] = Node(gateway, _gateway_args(config, placement.gateway, here), opts)
        instance_ids["gateway"] = nodes[gateway].instance_id
    Timetable(
        stack,
        TimetableArgs(
            physical_name=physical,
            partition=partition_of(placement.region),
            region=placement.region,
            id=placement.id,
            instance_ids=instance_ids,
            ends_at=ends_at,
            weekly=config.lifetime.weekly,
            iam=config.iam,
        ),
        opts,
    )
    _budget(config, stack, physical, opts)
    spec = config.storage.bucket
    own_region = placement.region if spec is not None and spec.name is None else None
    notices = notice_folder("s3", bucket.name if bucket else None, prefix, own_region)
    hosts = host_records(
        config, login.private_file, args.ends_at, nodes, pools=pools, private=gateway is not None, notices=notices
    )
    return Deployment(hosts=hosts, gateway_host=gateway, placement=proved(placement, list(instance_ids.values())))


def _engine_args(
    config: DeploymentConfig, placement: KnownPlacement, of_pool: Placement | None, here: NodeArgs
) -> NodeArgs:
    """Return the arguments of the machines of one pool, from those of the pool main `here`; `config` is the pool's."""
    made_of = of_pool or placement
    return replace(
        here,
        machine=placed_machine("aws", made_of.machine_type),
        spec=config.machine,
        image=made_of.image,
        data=_data_volume_args(config, placement),
    )


def _gateway_args(config: DeploymentConfig, gateway: GatewayPlacement, here: NodeArgs) -> NodeArgs:
    """Return the arguments of the gateway's own machine, from those of the others `here`."""
    return replace(
        here,
        machine=placed_machine("aws", gateway.machine_type),
        spec=MachineSpec(),  # on demand, with standard CPU credits
        image=gateway.image,
        root_gib=gateway_root_gib(config),
        data=None,
    )


def _closed_ports(config: DeploymentConfig, placement: Placement) -> ClosedPorts:
    ports = tuple(dict.fromkeys(view.serving.port for view in config.by_pool.values()))
    return ClosedPorts(ports, DOOR_PORTS if placement.gateway is not None else ())


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


def _firewall_args(config: DeploymentConfig, placement: Placement, physical: str, network: Network) -> FirewallArgs:
    return FirewallArgs(
        physical_name=physical,
        vpc_id=network.vpc_id,
        ssh_cidrs=config.network.ssh_cidrs,
        client_cidrs=config.network.client_cidrs,
        clients_from_anywhere=config.network.clients_from_anywhere,
        gateway_port=config.gateway.port,
        own_gateway=placement.gateway is not None,
    )


def _data_volume_args(config: DeploymentConfig, placement: KnownPlacement) -> DataVolumeArgs:
    return DataVolumeArgs(
        zone=placement.zone,
        size_gib=data_gib(config),
        speed=gp3_speed(config),
        kms_key=config.storage.kms_key,
        keep="data_volume" in config.storage.keep_on_down,
        blank=bool(placement.blank_at),
    )


def _identity_args(
    config: DeploymentConfig, role_name: str, bucket: "Bucket | None", notices: str = ""
) -> IdentityArgs:
    return IdentityArgs(
        role_name=role_name,
        iam=config.iam,
        bucket_arn=bucket.arn if bucket else None,
        bucket_prefix=config.storage.bucket.prefix if config.storage.bucket else "",
        notice_prefix=notices,
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
