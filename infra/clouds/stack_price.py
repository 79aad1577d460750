"""What things cost, from the frozen tables in catalog/data: list prices with their source and date. Asks no cloud.

Spot prices of AWS are not in the tables, as they move by the hour: infra/clouds/aws/placing/stock.py asks for them.
"""

from dataclasses import dataclass
from functools import cache

from catalog.gcp_shapes import disk_type
from catalog.tables import rows
from infra.clouds.disk_speed import GP3_IOPS, GP3_MIB_PER_S, DiskSpeed, gp3_speed
from infra.clouds.gcp.placing.disk_speed import HYPERDISK, provisioned_speed
from infra.clouds.sizes import data_gib
from infra.config import DeploymentConfig

HOURS_PER_MONTH = 730
"""As AWS and GCP count a month on their price pages."""

WEEKS_PER_MONTH = HOURS_PER_MONTH / (7 * 24)

EVERY_REGION = "any"
"""Region in the table of what costs the same everywhere."""

DISK_ITEM = {"aws": "ebs_gp3_storage", "gcp": "pd_balanced_storage"}
THROUGHPUT_ITEM, IOPS_ITEM = "ebs_gp3_throughput_above_125", "ebs_gp3_iops_above_3000"
"""Of gp3: a GiB/s, and an I/O operation a second, for a month."""

ADDRESS_ITEM = {"aws": "public_ipv4_address", "gcp": "external_ip_standard_vm"}
BUCKET_ITEM = {"aws": "s3_standard_storage_first_50tb", "gcp": "gcs_standard_storage_single_region"}


@dataclass(frozen=True, kw_only=True)
class StackPrice:
    """What a stack costs, in USD, without traffic and without what lies in its bucket."""

    machines_per_hour: float
    """While the machines run."""
    disks_per_month: float
    """Whether they run or not."""
    addresses_per_hour: float
    """Whether they run or not."""
    running_hours_per_month: float
    not_priced: tuple[str, ...] = ()
    """What the sums leave out, as the tables have no price for it."""

    @property
    def per_hour(self) -> float:
        """What an hour costs in which the machines run."""
        return self.machines_per_hour + self.addresses_per_hour + self.disks_per_month / HOURS_PER_MONTH

    @property
    def per_month(self) -> float:
        """What a month costs, with the hours that the weekly schedule leaves."""
        fixed = self.disks_per_month + self.addresses_per_hour * HOURS_PER_MONTH
        return fixed + self.machines_per_hour * self.running_hours_per_month


def stack_price(config: DeploymentConfig, spot_usd_per_hour: float | None = None) -> StackPrice | None:
    """Return the price of a stack on its first machine type; None when the tables do not know it.

    `spot_usd_per_hour` is the market's price, where that is known.
    """
    cloud, region, machine = config.cloud, str(config.region), config.machine
    if cloud not in DISK_ITEM or machine.type is None:
        return None
    market = machine.market
    hourly = spot_usd_per_hour if spot_usd_per_hour is not None else machine_usd(cloud, region, machine.type, market)
    disk, speed = item_usd(cloud, region, _disk_item(cloud, machine.type)), speed_usd(config, machine.type)
    address = item_usd(cloud, region, ADDRESS_ITEM[cloud])
    if hourly is None or address is None:
        return None
    name, size_gib = _disk_name(cloud, machine.type), config.storage.root_gib + data_gib(config)
    lacks = ((disk, f"{size_gib} GiB of {name}"), (speed, f"the speed of {name}"))
    return StackPrice(
        machines_per_hour=hourly * machine.count,
        disks_per_month=((disk or 0.0) * size_gib + (speed or 0.0)) * machine.count,
        addresses_per_hour=address * machine.count,
        running_hours_per_month=running_hours(config),
        not_priced=tuple(what for usd, what in lacks if usd is None),
    )


def speed_usd(config: DeploymentConfig, machine_type: str) -> float | None:
    """Return what a data volume costs a month for being faster than others, in USD; None when no table has the price.

    The price of a Hyperdisk's speed is in none of our tables. A balanced disk is fast by its size.
    """
    if config.cloud == "gcp":
        return 0.0 if provisioned_speed(config, machine_type) is None else None
    speed, region = gp3_speed(config), str(config.region)
    if speed == DiskSpeed(GP3_MIB_PER_S, GP3_IOPS):
        return 0.0
    per_gib, per_iops = (item_usd("aws", region, each) for each in (THROUGHPUT_ITEM, IOPS_ITEM))
    if per_gib is None or per_iops is None:
        return None
    return (speed.mib_per_s - GP3_MIB_PER_S) / 1024 * per_gib + (speed.iops - GP3_IOPS) * per_iops


def _disk_item(cloud: str, machine_type: str) -> str:
    """Return the item of a machine's disks: families of GCP differ in what they take."""
    return "hyperdisk_balanced_storage" if _is_hyperdisk(cloud, machine_type) else DISK_ITEM[cloud]


def _disk_name(cloud: str, machine_type: str) -> str:
    """Return what the vendor calls a machine's disks."""
    if _is_hyperdisk(cloud, machine_type):
        return "Hyperdisk Balanced"
    return "gp3" if cloud == "aws" else "Balanced Persistent Disk"


def _is_hyperdisk(cloud: str, machine_type: str) -> bool:
    return cloud == "gcp" and disk_type(machine_type) == HYPERDISK


def running_hours(config: DeploymentConfig) -> float:
    """Return how many hours of a month the machines run by the weekly schedule; a month when there is none."""
    weekly = config.lifetime.weekly
    if weekly is None:
        return HOURS_PER_MONTH
    return (_hours(weekly.stop) - _hours(weekly.start)) * len(weekly.days) * WEEKS_PER_MONTH


def machine_usd(cloud: str, region: str, machine_type: str, market: str) -> float | None:
    """Return the price of a machine by the hour; None when the table does not know it."""
    return _machines().get((cloud, region, machine_type, market))


def item_usd(cloud: str, region: str, item: str) -> float | None:
    """Return the price of a unit of storage or network; None when the table does not know it for this region."""
    known = _items()
    return known.get((cloud, region, item), known.get((cloud, EVERY_REGION, item)))


def keeping_cost(cloud: str, region: str, item: str, size_gib: float | None) -> str:
    """Return in words what it costs to keep a disk or a bucket; no size: nobody knows how much lies in a bucket.

    Where the table does not know the region, another region's price says what to expect.
    """
    usd, note = item_usd(cloud, region, item), ""
    if usd is None:
        elsewhere = {place: price for (of, place, name), price in _items().items() if (of, name) == (cloud, item)}
        if not elsewhere:
            return "its price is not in our table"
        place, usd = next(iter(elsewhere.items()))
        note = f" in {place}; that of {region} is not in our table"
    return (f"${usd:.3f} a month for each GB in it" if size_gib is None else f"${size_gib * usd:.2f} a month") + note


@cache
def _machines() -> dict[tuple[str, str, str, str], float]:
    return {
        (row["cloud"], row["region"], row["machine_type"], row["market"]): float(row["usd_per_hour"])
        for row in rows("machine_prices.csv")
    }


@cache
def _items() -> dict[tuple[str, str, str], float]:
    return {(row["cloud"], row["region"], row["item"]): float(row["usd"]) for row in rows("storage_network_prices.csv")}


def _hours(time_of_day: str) -> float:
    hours, minutes = time_of_day.split(":")
    return int(hours) + int(minutes) / 60
