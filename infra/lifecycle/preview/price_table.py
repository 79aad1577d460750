"""The table of stacks and their prices in stacks/README.md, made from the stack files and the prices in catalog/data.

python -m infra.lifecycle.preview.price_table            writes it
"""

import sys
from pathlib import Path

from catalog.clouds import RENTED
from catalog.prices import HOURS_PER_MONTH, machine_usd
from core.files import write_atomically
from core.paths import STACKS_DIR
from infra.clouds.costs.stack_price import stack_price
from infra.clouds.registry import cloud_of
from infra.config import DeploymentConfig, load_stack
from infra.config.reader import known_stacks
from infra.config.rules.gateway_machine import gateway_type

README = STACKS_DIR / "README.md"
BEGIN = "<!-- made by python -m infra.lifecycle.preview.price_table -->\n"
END = "<!-- end -->\n"

HEAD = """| stack | what it is | machine | USD per hour | USD per month |
|---|---|---|---|---|
"""


def table() -> str:
    """Return the rows of all stacks, between the marks in the README."""
    return BEGIN + HEAD + "".join(_row(stack) for stack in known_stacks()) + END


def updated(text: str) -> str:
    """Return the README's text with a new table."""
    before, _begin, rest = text.partition(BEGIN)
    _old, _end, after = rest.partition(END)
    return before + table() + after


def _row(stack: str) -> str:
    config = load_stack(stack)
    hour, month = _price(config)
    return f"| `{stack}` | {_about(STACKS_DIR / f'Pulumi.{stack}.yaml')} | {_machine(config)} | {hour} | {month} |\n"


def _about(path: Path) -> str:
    """Return what a stack file's first comment says, up to its first full stop or colon."""
    comment = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.removeprefix("#").strip())
    text = " ".join(comment)
    ends = [index for mark in (". ", ": ") if (index := text.find(mark)) > 0]
    return (text[: min(ends)] if ends else text).rstrip(".")


def _machine(config: DeploymentConfig) -> str:
    if config.cloud not in RENTED:
        return cloud_of(config.cloud).whose_machines
    of_pools = [(f"{each.count} x " if each.count > 1 else "") + str(each.type) for each in config.machines.values()]
    own = gateway_type(config)
    return f"{', '.join(of_pools)}{f' and {own}' if own else ''} in {config.region}"


def _price(config: DeploymentConfig) -> tuple[str, str]:
    """Return the price per hour and per month, as text. For spot without a listed price, the highest possible price."""
    if config.cloud not in RENTED:
        return "nothing", "nothing"
    caps = {pool: usd for pool, view in config.by_pool.items() if (usd := _spot_cap(view)) is not None}
    price, most = stack_price(config, caps), "at most " if caps else ""
    if price is None:
        return "not listed", "not listed"
    hours = "" if price.running_hours_per_month == HOURS_PER_MONTH else f" ({price.running_hours_per_month:.0f} h)"
    most = "at least " if price.not_priced and not most else most
    return f"{most}{price.per_hour:.3f}", f"{most}{price.per_month:,.0f}{hours}"


def _spot_cap(config: DeploymentConfig) -> float | None:
    """Return the highest price of one machine of a pool, if it is spot and has no listed price; else None."""
    cloud, region, machine = config.cloud, str(config.region), config.machine
    if machine.market != "spot" or machine_usd(cloud, region, str(machine.type), "spot") is not None:
        return None
    caps = (machine.spot_max_usd_per_hour, machine_usd(cloud, region, str(machine.type), "on_demand"))
    return min((each for each in caps if each is not None), default=None)


if __name__ == "__main__":
    write_atomically(README, updated(README.read_text()))
    print(README, file=sys.stderr)
