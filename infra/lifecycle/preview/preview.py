"""Preview of a stack: what `up` would do in the place that it would try first, and what that costs."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.console import say, step
from infra.automation.events import Report
from infra.clouds.candidates import lies_elsewhere
from infra.clouds.cloud import Cloud
from infra.clouds.costs.running_costs import cost_record, known_price, odd_hours
from infra.clouds.registry import rented_cloud
from infra.config import DeploymentConfig
from infra.contract.stack_placement import PLACEMENT_VARIABLE, KnownPlacement, Progress
from infra.lifecycle.placement.login import hand_provider_environment
from infra.lifecycle.placement.previous import previous_placement
from infra.lifecycle.placement.trying import first_shown
from infra.lifecycle.preview.volume_speed import speed_lines, volume_speed

if TYPE_CHECKING:
    from infra.automation.stack import Stack


def preview(config: DeploymentConfig, stack: str, held: "Stack") -> tuple[Report, dict[str, Any]]:
    """Return what `up` would do, and what the stack costs, for a result file. No cost: not on AWS or GCP."""
    cloud, cost = rented_cloud(config.cloud), dict[str, Any]()
    if cloud is not None:
        cost = _place_and_price(config, stack, cloud, held)
    with step("ask the Pulumi engine"):
        return held.preview(), cost


def _place_and_price(config: DeploymentConfig, stack: str, cloud: Cloud, held: "Stack") -> dict[str, Any]:
    """Pass the first place to the Pulumi program, and print it with its price. Return the price for a result file."""
    with step("look up image and zones"):
        previous = previous_placement(config, stack, cloud, held)
        if previous is not None and not previous.is_complete and lies_elsewhere(config, previous):
            previous = None
        candidate = first_shown(cloud.candidates(config, previous), previous, stack)
    say(f"  {candidate}")
    for line in odd_hours(config, candidate.placement, datetime.now(UTC)):
        say(f"  ! {line}")
    speed = volume_speed(config, candidate.placement.machine_type)
    of_pools = {
        name: volume_speed(config.of_pool(name), pool.machine_type) for name, pool in candidate.placement.pools.items()
    }
    more = [
        f"pool {name}: {line}" for name, each in of_pools.items() for line in speed_lines(config.of_pool(name), each)
    ]
    for line in (*known_price(config, candidate.spot_usd_per_hour), *speed_lines(config, speed), *more):
        say(f"  {line}")
    hand_provider_environment(config.cloud, candidate.placement, held)
    # The Pulumi engine refuses to preview the replacement of a protected volume.
    blank = "" if previous is None or "data_volume" in config.storage.keep_on_down else previous.blank_at
    handed = KnownPlacement.of(candidate.placement, Progress(blank_at=blank) if blank else None)
    held.hand_over(PLACEMENT_VARIABLE, handed.model_dump_json())
    cost = {**cost_record(config, candidate.spot_usd_per_hour), "data_volume_speed": speed.record()}
    records = {name: {"data_volume_speed": each.record()} for name, each in of_pools.items()}
    return {**cost, **({"pools": records} if records else {})}
