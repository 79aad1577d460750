"""List prices from the tables in catalog/data, each row with its source and date. Looks up; adds nothing up.

Spot prices of AWS change every hour, so the tables leave them out: infra/clouds/aws/placing/stock.py asks AWS.
"""

from dataclasses import dataclass
from datetime import date
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


def token_usd(
    provider: str, model: str, input_tokens: int, cached_tokens: int, output_tokens: int, *, on: date | None = None
) -> float | None:
    """Return the price of one answer by the list price of `on` (default: the newest); None if the table lacks it.

    `cached_tokens` are those of the input that came from the provider's cache.
    """
    known = [row for row in _tokens().get((provider, model), ()) if on is None or row.as_of <= on]
    if not known:
        return None
    price = max(known, key=lambda row: row.as_of)
    if price.up_to_input_tokens is not None and input_tokens > price.up_to_input_tokens:
        return None
    fresh = (input_tokens - cached_tokens) * price.input_usd
    return (fresh + cached_tokens * price.cached_input_usd + output_tokens * price.output_usd) / 1_000_000


@dataclass(frozen=True, kw_only=True)
class TokenPrice:
    """Prices of a million tokens in USD, and the day on which the source had them."""

    input_usd: float
    cached_input_usd: float
    output_usd: float
    up_to_input_tokens: int | None
    """A longer input has another price, which is not in the table. None: all have the same."""
    as_of: date


@cache
def _tokens() -> dict[tuple[str, str], list[TokenPrice]]:
    found: dict[tuple[str, str], list[TokenPrice]] = {}
    for row in rows("token_prices.csv"):
        price = TokenPrice(
            input_usd=float(row["input_usd"]),
            cached_input_usd=float(row["cached_input_usd"]),
            output_usd=float(row["output_usd"]),
            up_to_input_tokens=int(row["up_to_input_tokens"]) if row["up_to_input_tokens"] else None,
            as_of=date.fromisoformat(row["as_of"]),
        )
        found.setdefault((row["provider"], row["model"]), []).append(price)
    return found


@cache
def _machines() -> dict[tuple[str, str, str, str], float]:
    return {
        (row["cloud"], row["region"], row["machine_type"], row["market"]): float(row["usd_per_hour"])
        for row in rows("machine_prices.csv")
    }


@cache
def _items() -> dict[tuple[str, str, str], float]:
    return {(row["cloud"], row["region"], row["item"]): float(row["usd"]) for row in rows("storage_network_prices.csv")}
