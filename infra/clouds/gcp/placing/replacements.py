"""Which hosts and data disks of an existing stack a changed file would replace.

A change that would replace a data disk is refused. A host that Google's plugin cannot change in place is replaced,
which is reported before anything is done. Changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from catalog.gcp_shapes import accelerator_type, disk_type, family
from core.errors import ConfigError
from infra.clouds.candidates import Place, is_bound, replaced_for
from infra.clouds.gcp.api.client import everywhere
from infra.clouds.gcp.api.labels import ID
from infra.clouds.gcp.api.names import DATA_SUFFIX, pool_of_node
from infra.clouds.gcp.placing.end_of_life import end_of_life
from infra.clouds.program.naming import is_gateway
from infra.clouds.sizes import data_gib, gateway_root_gib
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement, Placement
from serving.spec.pool_name import MAIN

STAYING = "data disk, address and host key stay"
GATEWAY_STAYING = "address and host key stay"
RUNNING = ("PROVISIONING", "STAGING", "RUNNING")
"""Statuses in which an instance has its processors and GPUs."""

BLANK = "its data disk is also replaced with an empty one"


@dataclass(frozen=True)
class DataDisk:
    """A data disk that GCP has."""

    name: str
    zone: str
    type: str
    size_gib: int


def data_disks(placement: Placement, pool: str = MAIN) -> list[DataDisk]:
    """Return the data disks of one pool of a stack."""
    return [
        DataDisk(each.name, zone, str(each.type_).rpartition("/")[2], int(each.size_gb))
        for zone, each in _own(placement, "Disks", "disks")
        if each.name.endswith(DATA_SUFFIX) and pool_of_node(each.name, placement.id) == pool
    ]


def keeping_disks(
    places: list[Place], config: DeploymentConfig, placement: KnownPlacement, pool: str = MAIN
) -> list[Place]:
    """Return the places that keep the data disks of one pool; `config` and `placement` are the pool's.

    The plugin replaces a disk that would shrink or change its type with an empty one. Raises ConfigError if all places
    do that. A spot machine may leave its disk behind, because it may leave its zone.
    """
    disks = data_disks(placement, pool)
    if placement.is_complete or engine_instances(placement, pool):  # else they are blank
        _refuse_smaller(config, disks)
    there = {disk.zone: disk for disk in disks} if is_bound(config, placement) else {}
    kept = [(zone, each) for zone, each in places if zone not in there or there[zone].type == disk_type(each)]
    if not kept:
        (zone, machine_type), *_others = places
        disk = there[zone]
        what = (
            f"{machine_type} needs {disk_type(machine_type)}, but {disk.name} is {disk.type} and cannot change its type"
        )
        hint = f"write a machine type that supports {disk.type}, or run `make down` first"
        raise ConfigError(what, where="machine.type", hint=hint)
    return kept


def replaced(config: DeploymentConfig, previous: Placement, first: Placement) -> list[str]:
    """Return the hosts that an `up` to the placement `first` replaces, each with the reason."""
    notices = []
    for zone, host in own_instances(previous):
        if is_gateway(str(host.name)):
            why, kept = list(_why_gateway(config, host, previous, first)), GATEWAY_STAYING
        else:
            why, kept = _why_engine(config, host, previous, first)
        if why:
            notices.append(f"{host.name} in {zone} is replaced because of {', '.join(why)}; {kept}")
    return notices


def _why_engine(config: DeploymentConfig, host: Any, previous: Placement, first: Placement) -> tuple[list[str], str]:
    """Return the keys whose change replaces a host with an engine, and what is kept; no keys if its pool is removed."""
    pool = pool_of_node(str(host.name), previous.id)
    before, after = previous.of_pool(pool), first.of_pool(pool)
    if before is None or after is None:
        return [], ""
    view = config.by_pool[pool]
    keys = [*replaced_for(before, after), *_unchangeable(view, host, before, after)]
    disks = data_disks(previous, pool)
    stay = all((disk.zone, disk.type) == (after.zone, disk_type(after.machine_type)) for disk in disks)
    prefix = "" if pool == MAIN else f"pools.{pool}."
    return [f"{prefix}{key}" if key.startswith("machine.") else key for key in keys], STAYING if stay else BLANK


def engine_instances(placement: Placement, pool: str | None = None) -> list[tuple[str, Any]]:
    """Return the hosts of a placement that have an engine, each with its zone; `pool`: those of one pool."""
    hosts = [(zone, host) for zone, host in own_instances(placement) if not is_gateway(str(host.name))]
    return [each for each in hosts if pool in (None, pool_of_node(str(each[1].name), placement.id))]


def own_instances(placement: Placement) -> list[tuple[str, Any]]:
    """Return the hosts of a placement, each with its zone."""
    return _own(placement, "Instances", "instances")


def runs(placement: Placement) -> bool:
    """Return whether a host of a placement with an engine runs or starts."""
    return any(host.status in RUNNING for _zone, host in engine_instances(placement))


def keeps_end(config: DeploymentConfig, previous: Placement, first: Placement) -> bool:
    """Return whether a stack has hosts and GCP ends all of them at the end of life in the stack file."""
    ends_at = end_of_life(config, first)
    return {_ends_at(host) for _zone, host in own_instances(previous)} == {ends_at}


def _refuse_smaller(config: DeploymentConfig, disks: list[DataDisk]) -> None:
    wanted = data_gib(config)
    for disk in disks:
        if disk.size_gib > wanted:
            what = f"{wanted} GiB is less than the {disk.size_gib} of {disk.name}, and a disk cannot shrink"
            hint = f"write at least {disk.size_gib}, or run `make down` first"
            raise ConfigError(what, where="storage.data_gib", hint=hint)


def _unchangeable(config: DeploymentConfig, host: Any, previous: Placement, first: Placement) -> Iterator[str]:
    """Yield the keys whose change replaces the instance."""
    if _model(previous.machine_type) != _model(first.machine_type):
        yield "machine.type"
    if (host.scheduling.provisioning_model == "SPOT") != (config.machine.market == "spot"):
        yield "machine.market"
    if any(disk.boot and disk.disk_size_gb != config.storage.root_gib for disk in host.disks):
        yield "storage.root_gib"
    if _ends_at(host) != end_of_life(config, first):
        yield "another end of life"


def _why_gateway(config: DeploymentConfig, host: Any, previous: Placement, first: Placement) -> Iterator[str]:
    """Yield the keys whose change replaces the gateway's own machine; nothing if it is removed."""
    before, after = previous.gateway, first.gateway
    if before is None or after is None:
        return
    if before.image != after.image:
        yield "machine.image"
    if previous.zone != first.zone:
        yield "zones"
    if _model(before.machine_type) != _model(after.machine_type):
        yield "gateway.machine.type"
    if any(disk.boot and disk.disk_size_gb != gateway_root_gib(config) for disk in host.disks):
        yield "storage.root_gib"
    if _ends_at(host) != end_of_life(config, first):
        yield "another end of life"


def _ends_at(host: Any) -> datetime | None:
    """Return when GCP ends an instance; None for never."""
    end = host.scheduling.termination_time
    return datetime.fromisoformat(end) if end else None


def _model(machine_type: str) -> tuple[str, str | None]:
    """Return the part of a machine type that a change in place cannot alter."""
    return family(machine_type), accelerator_type(machine_type)


def _own(placement: Placement, client: str, key: str) -> list[tuple[str, Any]]:
    """Return a stack's resources of a kind, each with its location."""
    return everywhere(client, str(placement.project), key, f'labels.{ID} = "{placement.id}"')
