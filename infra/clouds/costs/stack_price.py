"""The price of a stack by list prices (catalog/prices.py). Calls no cloud."""

from collections.abc import Mapping
from dataclasses import dataclass

from catalog.clouds import RENTED
from catalog.prices import ADDRESS_ITEM, DISK_ITEM, DISK_NAME, HOURS_PER_MONTH, item_usd, machine_usd
from infra.clouds.registry import cloud_of
from infra.clouds.sizes import data_gib, gateway_root_gib
from infra.config import DeploymentConfig
from infra.config.rules.gateway_machine import GATEWAY_MARKET, gateway_type
from serving.spec.pool_name import MAIN

NO_PRICES: Mapping[str, float] = {}

WEEKS_PER_MONTH = HOURS_PER_MONTH / (7 * 24)


@dataclass(frozen=True, kw_only=True)
class StackPrice:
    """The price of a stack in USD, without traffic and without the contents of its bucket."""

    machines_per_hour: float
    """While the machines run."""
    disks_per_month: float
    """Whether they run or not."""
    addresses_per_hour: float
    """Whether they run or not."""
    running_hours_per_month: float
    not_priced: tuple[str, ...] = ()
    """Items that the sums leave out, because the tables have no price for them."""

    @property
    def per_hour(self) -> float:
        """Price of an hour while the machines run."""
        return self.machines_per_hour + self.addresses_per_hour + self.disks_per_month / HOURS_PER_MONTH

    @property
    def per_month(self) -> float:
        """Price of a month in which the machines run by the weekly schedule."""
        fixed = self.disks_per_month + self.addresses_per_hour * HOURS_PER_MONTH
        return fixed + self.machines_per_hour * self.running_hours_per_month


def stack_price(config: DeploymentConfig, spot_usd_per_hour: Mapping[str, float] = NO_PRICES) -> StackPrice | None:
    """Return the price of a stack on its first machine types; None if the tables do not have that of the pool main.

    `spot_usd_per_hour` has the spot market's prices by pool, as far as they are known.
    """
    cloud, region = config.cloud, str(config.region)
    if cloud not in RENTED or config.machine.type is None:
        return None
    address = item_usd(cloud, region, ADDRESS_ITEM[cloud])
    if address is None or _machine_usd(config, spot_usd_per_hour.get(MAIN)) is None:
        return None
    parts = [_pool_price(view, pool, spot_usd_per_hour.get(pool)) for pool, view in config.by_pool.items()]
    parts.append(_gateway_price(config))
    return StackPrice(
        machines_per_hour=sum(each.machines_per_hour for each in parts),
        disks_per_month=sum(each.disks_per_month for each in parts),
        addresses_per_hour=address * config.host_count,
        running_hours_per_month=running_hours(config),
        not_priced=tuple(what for each in parts for what in each.not_priced),
    )


@dataclass(frozen=True)
class _Price:
    """The price of the machines of a pool, or of the gateway's own, in USD, without addresses."""

    machines_per_hour: float = 0.0
    disks_per_month: float = 0.0
    not_priced: tuple[str, ...] = ()


def _machine_usd(config: DeploymentConfig, spot_usd_per_hour: float | None) -> float | None:
    machine = config.machine
    if spot_usd_per_hour is not None:
        return spot_usd_per_hour
    return machine_usd(config.cloud, str(config.region), str(machine.type), machine.market)


def _pool_price(config: DeploymentConfig, pool: str, spot_usd_per_hour: float | None) -> _Price:
    """Return the price of the machines of one pool; `config` is the pool's."""
    cloud, region, machine = config.cloud, str(config.region), config.machine
    hourly, volume = _machine_usd(config, spot_usd_per_hour), cloud_of(cloud).data_volume(config, str(machine.type))
    name, size_gib = DISK_NAME[volume.kind], config.storage.root_gib + data_gib(config)
    disk, speed = item_usd(cloud, region, DISK_ITEM[volume.kind]), volume.speed_usd_per_month
    whose = "" if pool == MAIN else f" (pool {pool})"
    market = " on the spot market" if machine.market == "spot" else ""
    lacks = ((hourly, f"{machine.type}{market}"), (disk, f"{size_gib} GiB of {name}"), (speed, f"the speed of {name}"))
    return _Price(
        (hourly or 0.0) * machine.count,
        ((disk or 0.0) * size_gib + (speed or 0.0)) * machine.count,
        tuple(f"{what}{whose}" for usd, what in lacks if usd is None),
    )


def _gateway_price(config: DeploymentConfig) -> _Price:
    cloud, region, own = config.cloud, str(config.region), gateway_type(config)
    if own is None:
        return _Price()
    kind, size_gib = cloud_of(cloud).data_volume(config, own).kind, gateway_root_gib(config)
    machine, disk = machine_usd(cloud, region, own, GATEWAY_MARKET), item_usd(cloud, region, DISK_ITEM[kind])
    lacks = ((machine, own), (disk, f"{size_gib} GiB of {DISK_NAME[kind]}"))
    not_priced = tuple(what for usd, what in lacks if usd is None)
    return _Price(machine or 0.0, (disk or 0.0) * size_gib, not_priced)


def running_hours(config: DeploymentConfig) -> float:
    """Return how many hours of a month the machines run by the weekly schedule; all of them without a schedule."""
    weekly = config.lifetime.weekly
    if weekly is None:
        return HOURS_PER_MONTH
    return (_hours(weekly.stop) - _hours(weekly.start)) * len(weekly.days) * WEEKS_PER_MONTH


def _hours(time_of_day: str) -> float:
    hours, minutes = time_of_day.split(":")
    return int(hours) + int(minutes) / 60
