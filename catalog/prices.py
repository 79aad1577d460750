"""List prices from the tables in catalog/data, each row with its source and date. Looks up; adds nothing up.

Spot prices of AWS change every hour, so the tables leave them out: infra/clouds/aws/placing/stock.py asks AWS.
"""

from functools import cache

from catalog.tables import rows

HOURS_PER_MONTH = 730
"""As AWS and GCP count a month on their price pages."""

EVERY_REGION = "any"
"""Region in the table of an item that costs the same everywhere."""

DISK_ITEM = {
    "gp3": "ebs_gp3_storage",
    "pd-balanced": "pd_balanced_storage",
    "hyperdisk-balanced": "hyperdisk_balanced_storage",
}
"""Type of a disk -> its storage in the table: a GiB for a month."""

DISK_NAME = {"gp3": "gp3", "pd-balanced": "Balanced Persistent Disk", "hyperdisk-balanced": "Hyperdisk Balanced"}
"""Type of a disk -> the vendor's name for it."""

THROUGHPUT_ITEM, IOPS_ITEM = "ebs_gp3_throughput_above_125", "ebs_gp3_iops_above_3000"
"""Of gp3: a GiB/s, and an I/O operation a second, for a month."""

ADDRESS_ITEM = {"aws": "public_ipv4_address", "gcp": "external_ip_standard_vm"}
BUCKET_ITEM = {"aws": "s3_standard_storage_first_50tb", "gcp": "gcs_standard_storage_single_region"}


def machine_usd(cloud: str, region: str, machine_type: str, market: str) -> float | None:
    """Return the price of a machine by the hour; None if the table does not have it."""
    return _machines().get((cloud, region, machine_type, market))


def item_usd(cloud: str, region: str, item: str) -> float | None:
    """Return the price of a unit of storage or network; None if the table does not have it for this region."""
    known = _items()
    return known.get((cloud, region, item), known.get((cloud, EVERY_REGION, item)))


def keeping_cost(cloud: str, region: str, item: str, size_gib: float | None) -> str:
    """Return in words what it costs to keep a disk or a bucket. `size_gib` is None for a bucket: its size is not known.

    If the table does not have the region, another region's price is given as an estimate.
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
