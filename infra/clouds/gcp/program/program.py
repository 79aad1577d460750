"""The Pulumi program of cloud `gcp`: declares the resources in order, and returns the hosts."""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import pulumi
import pulumi_gcp as gcp

from catalog.gcp_shapes import disk_type
from catalog.machines import placed_machine
from core.ports import DOOR_PORTS
from infra.clouds.gcp.api.labels import own_labels, with_labels
from infra.clouds.gcp.api.names import account_id, gateway_node_name, node_name
from infra.clouds.gcp.placing.disk_speed import provisioned_speed
from infra.clouds.gcp.placing.end_of_life import end_of_life, powers_off_at
from infra.clouds.gcp.program.data_disk import DataDiskArgs
from infra.clouds.gcp.program.firewall import Firewall, FirewallArgs
from infra.clouds.gcp.program.guard_rules import GUARDS
from infra.clouds.gcp.program.identity import Identity, IdentityArgs
from infra.clouds.gcp.program.network import Network, NetworkArgs
from infra.clouds.gcp.program.node import Node, NodeArgs
from infra.clouds.program.guards import ClosedPorts
from infra.clouds.program.host_records import host_records, proved
from infra.clouds.program.login_key import login_key
from infra.clouds.program.naming import GATEWAY_SUFFIX, gateway_name, host_endings, physical_name
from infra.clouds.program.notices import notice_folder, notice_prefix
from infra.clouds.sizes import data_gib, gateway_root_gib
from infra.config import DeploymentConfig
from infra.contract.deployment import Deployment
from infra.contract.stack_placement import GatewayPlacement, KnownPlacement, Placement

if TYPE_CHECKING:
    from infra.clouds.gcp.program.bucket import Bucket


def deploy_stack(config: DeploymentConfig, placement: KnownPlacement) -> Deployment:
    """Declare the resources of a stack at its placement."""
    stack = pulumi.get_stack()
    labels = config.tags | own_labels(stack, placement.id)
    GUARDS.install(lambda kind, _name, props: with_labels(kind, props, labels), _closed_ports(config, placement))
    opts = pulumi.ResourceOptions(provider=_provider(config))
    physical = physical_name(stack, placement)
    network = Network(stack, _network_args(config, placement, physical), opts)
    bucket = _bucket(config, stack, physical, opts)
    # Only a stack that was made with the scope for it can write.
    prefix = notice_prefix(config, physical) if placement.writes_notices else ""
    identity = Identity(stack, _identity_args(config, placement, physical, bucket, prefix), opts)
    gateway = gateway_name(stack) if placement.gateway is not None else None
    own = Identity(gateway, _gateway_identity_args(config, placement, physical), opts) if gateway is not None else None
    Firewall(stack, _firewall_args(config, physical, network, identity.email, own.email if own else None), opts)
    login, end = login_key(stack, config.machine.identity_file), end_of_life(config, placement)
    ends_at = _iso(end)
    args = NodeArgs(
        physical_name=physical,
        machine=placed_machine("gcp", placement.machine_type),
        spot=config.machine.market == "spot",
        image=placement.image,
        zone=placement.zone,
        region=placement.region,
        subnet_id=network.subnet_id,
        has_ipv6=network.has_ipv6,
        login_key=f"{login.public} {stack}",
        account_email=identity.email,
        scopes=identity.scopes,
        schedule_id=_schedule(config, stack, physical, ends_at, opts),
        root_gib=config.storage.root_gib,
        data=None,
        ends_at=ends_at,
        keeps_end=placement.keeps_end,
        powers_off_at=_iso(powers_off_at(end)),
    )
    nodes, pools = dict[str, Node](), dict[str, str]()
    for pool, view in config.by_pool.items():
        of_pool = _pool_args(view, placement.of_pool(pool) or placement, args)
        for ending in host_endings(pool, view.machine.count):
            name = f"{stack}-{ending}"
            nodes[name] = Node(name, _engine_args(view, of_pool, node_name(physical, ending)), opts)
            pools[name] = pool
    if placement.gateway is not None and gateway is not None and own is not None:
        here = replace(args, account_email=own.email, scopes=own.scopes, physical_name=gateway_node_name(physical))
        nodes[gateway] = Node(gateway, _gateway_args(config, placement.gateway, here), opts)
    _budget(config, stack, physical, opts)
    return Deployment(
        hosts=host_records(
            config,
            login.private_file,
            ends_at,
            nodes,
            pools=pools,
            private=gateway is not None,
            notices=notice_folder("gs", bucket.name if bucket else None, prefix),
        ),
        gateway_host=gateway,
        placement=proved(placement, [node.instance_id for node in nodes.values()]),
    )


def _pool_args(config: DeploymentConfig, placement: Placement, here: NodeArgs) -> NodeArgs:
    """Return the arguments of the machines of one pool, from those of the pool main `here`.

    `config` and `placement` are the pool's.
    """
    machine = placed_machine("gcp", placement.machine_type)
    return replace(here, machine=machine, spot=config.machine.market == "spot", image=placement.image)


def _engine_args(config: DeploymentConfig, here: NodeArgs, name: str) -> NodeArgs:
    """Return the arguments of a machine with an engine: those of its pool `here`, with a name and a data disk."""
    machine_type = here.machine.type
    disk = DataDiskArgs(
        physical_name=name,
        zone=here.zone,
        size_gib=data_gib(config),
        type=disk_type(machine_type),
        speed=provisioned_speed(config, machine_type),
        keep="data_volume" in config.storage.keep_on_down,
    )
    return replace(here, physical_name=name, data=disk)


def _gateway_args(config: DeploymentConfig, gateway: GatewayPlacement, here: NodeArgs) -> NodeArgs:
    """Return the arguments of the gateway's own machine, from those of the others `here`."""
    machine = placed_machine("gcp", gateway.machine_type)
    return replace(here, machine=machine, spot=False, image=gateway.image, root_gib=gateway_root_gib(config))


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _closed_ports(config: DeploymentConfig, placement: Placement) -> ClosedPorts:
    ports = tuple(dict.fromkeys(view.serving.port for view in config.by_pool.values()))
    return ClosedPorts(ports, DOOR_PORTS if placement.gateway is not None else ())


def _provider(config: DeploymentConfig) -> gcp.Provider:
    """Return a provider with project and region set explicitly, never taken from the login."""
    has_budget = config.lifetime.budget is not None
    return gcp.Provider(
        "gcp",
        project=config.project,
        region=config.region,
        add_pulumi_attribution_label=False,
        # The budget API needs a quota project, and a personal login has none.
        user_project_override=True if has_budget else None,
        billing_project=config.project if has_budget else None,
    )


def _network_args(config: DeploymentConfig, placement: Placement, physical: str) -> NetworkArgs:
    return NetworkArgs(
        physical_name=physical,
        project=str(config.project),
        region=placement.region,
        cidr=config.network.cidr,
        existing_id=config.network.id,
        existing_subnet=placement.subnets.get(placement.zone),
    )


def _identity_args(
    config: DeploymentConfig, placement: Placement, physical: str, bucket: "Bucket | None", notices: str
) -> IdentityArgs:
    return IdentityArgs(
        physical_name=physical,
        account_id=account_id(placement.id),
        project=str(config.project),
        bucket=bucket.name if bucket else None,
        bucket_prefix=config.storage.bucket.prefix if config.storage.bucket else "",
        notice_prefix=notices,
        bucket_scope=placement.writes_notices,
    )


def _gateway_identity_args(config: DeploymentConfig, placement: Placement, physical: str) -> IdentityArgs:
    return IdentityArgs(
        physical_name=f"{physical}{GATEWAY_SUFFIX}",
        account_id=f"{account_id(placement.id)}{GATEWAY_SUFFIX}",
        project=str(config.project),
        bucket=None,
        bucket_prefix="",
    )


def _firewall_args(
    config: DeploymentConfig,
    physical: str,
    network: Network,
    engines: pulumi.Output[str],
    gateway: pulumi.Output[str] | None,
) -> FirewallArgs:
    return FirewallArgs(
        physical_name=physical,
        network_id=network.network_id,
        account_email=engines,
        gateway_email=gateway,
        ssh_cidrs=config.network.ssh_cidrs,
        client_cidrs=config.network.client_cidrs,
        clients_from_anywhere=config.network.clients_from_anywhere,
        gateway_port=config.gateway.port,
    )


def _bucket(config: DeploymentConfig, stack: str, physical: str, opts: pulumi.ResourceOptions) -> "Bucket | None":
    spec = config.storage.bucket
    if spec is None:
        return None
    from infra.clouds.gcp.program.bucket import Bucket, BucketArgs  # loads an SDK module that few stacks need

    args = BucketArgs(
        physical_name=physical,
        region=str(config.region),
        existing_name=spec.name,
        keep="bucket" in config.storage.keep_on_down,
    )
    return Bucket(stack, args, opts)


def _schedule(
    config: DeploymentConfig, stack: str, physical: str, ends_at: str, opts: pulumi.ResourceOptions
) -> pulumi.Output[str] | None:
    spec = config.lifetime.weekly
    if spec is None:
        return None
    from infra.clouds.gcp.program.weekly import WeeklyArgs, weekly

    args = WeeklyArgs(physical_name=physical, region=str(config.region), spec=spec, ends_at=ends_at)
    schedule_id: pulumi.Output[str] = weekly(stack, args, opts).id
    return schedule_id


def _budget(config: DeploymentConfig, stack: str, physical: str, opts: pulumi.ResourceOptions) -> None:
    spec = config.lifetime.budget
    if spec is not None:
        from infra.clouds.gcp.program.budget import BudgetArgs, budget

        budget(stack, BudgetArgs(physical_name=physical, project=str(config.project), spec=spec), opts)
