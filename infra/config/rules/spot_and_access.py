"""Rules about cost, time and access: market, schedule, budget, kept resources, open ports."""

from collections.abc import Iterator

from catalog.clouds import RENTED
from catalog.machines import find_machine
from core.ports import ENGINE_PORTS
from core.reading.rules import Problem
from infra.config.models.deployment import DeploymentConfig

CREDIT_FAMILIES = ("t2", "t3", "t3a", "t4g")
"""AWS families with CPU credits. By default, t3 and later are billed for what they use beyond their credits."""

SPOT_ONLY = ("a3-highgpu-1g", "a3-highgpu-2g", "a3-highgpu-4g")
"""Types that GCP offers as spot or flex-start machines only (its page on accelerator-optimized machines, A3 High)."""

DEEP_LEARNING_ROOT_GIB = 100
"""Smallest root disk for the deep-learning images, which contain several versions of CUDA."""


def market(config: DeploymentConfig) -> Iterator[Problem]:
    """Spot options are for spot machines, and a schedule is for machines that can be started again."""
    machine = config.machine
    if machine.spot_max_usd_per_hour is not None and machine.market != "spot":
        yield Problem("machine.spot_max_usd_per_hour", "is for market spot", "leave it out, or write market: spot")
    if machine.drain_on_rebalance and machine.market != "spot":
        yield Problem("machine.drain_on_rebalance", "is for market spot", "leave it out, or write market: spot")
    if machine.market == "spot" and config.lifetime.weekly is not None:
        yield Problem(
            "lifetime.weekly",
            "stops machines, and a stopped spot machine cannot be started again",
            "leave it out, or write market: on_demand",
        )


def can_be_stopped(config: DeploymentConfig) -> Iterator[Problem]:
    """A weekly schedule stops machines, and GCP does not stop machines with local SSDs.

    GCP stops them only with `--discard-local-ssd`, which an instance schedule cannot set
    (https://cloud.google.com/compute/docs/disks/local-ssd). AWS stops such machines and clears their instance store,
    which this project does not use.
    """
    machine = config.machine
    if config.cloud != "gcp" or config.lifetime.weekly is None:
        return
    for key, each in (("type", machine.type), *((f"fallbacks[{i}]", each) for i, each in enumerate(machine.fallbacks))):
        row = find_machine("gcp", each or "")
        if row is not None and row.local_ssd_gb:
            what = f"{each} has local SSDs, and a weekly schedule cannot stop it"
            yield Problem(
                f"machine.{key}", what, "leave lifetime.weekly out, or write a type without, e.g. a2-highgpu-1g"
            )


def needs_spot(config: DeploymentConfig) -> Iterator[Problem]:
    """A type that GCP offers on the spot market only needs market spot."""
    machine = config.machine
    if config.cloud != "gcp" or machine.market == "spot":
        return
    for key, each in (("type", machine.type), *((f"fallbacks[{i}]", each) for i, each in enumerate(machine.fallbacks))):
        if each in SPOT_ONLY:
            yield Problem(f"machine.{key}", f"{each} is not offered on demand", "write market: spot, or a3-highgpu-8g")


def credits_go_with_type(config: DeploymentConfig) -> Iterator[Problem]:
    """CPU credits are for types that have them."""
    machine = config.machine
    row = find_machine("aws", machine.type or "")
    if machine.cpu_credits is not None and row is not None and row.family not in CREDIT_FAMILIES:
        yield Problem("machine.cpu_credits", f"is for t-types, and {row.type} is not one", "leave it out")


def budget_has_account(config: DeploymentConfig) -> Iterator[Problem]:
    """A GCP budget belongs to a billing account."""
    budget = config.lifetime.budget
    if config.cloud == "gcp" and budget is not None and budget.billing_account is None:
        yield Problem(
            "lifetime.budget.billing_account",
            "is missing, and cloud gcp needs it",
            "write the id that `gcloud billing accounts list` prints",
        )


def kept_resources_exist(config: DeploymentConfig) -> Iterator[Problem]:
    """`down` can keep only what `up` created."""
    storage = config.storage
    for index, kept in enumerate(storage.keep_on_down):
        if kept == "bucket" and storage.bucket is None:
            yield Problem(
                f"storage.keep_on_down[{index}]",
                "the stack has no bucket to keep",
                "leave it out, or add storage.bucket: {}",
            )
        if kept == "bucket" and storage.bucket is not None and storage.bucket.name is not None:
            yield Problem(
                f"storage.keep_on_down[{index}]", "bucket is an existing one, which is never deleted", "leave it out"
            )


def root_disk_holds_image(config: DeploymentConfig) -> Iterator[Problem]:
    """The root disk holds the image."""
    if config.machine.image == "deep-learning" and config.storage.root_gib < DEEP_LEARNING_ROOT_GIB:
        yield Problem(
            "storage.root_gib",
            f"{config.storage.root_gib} GiB does not hold the deep-learning image",
            f"write at least {DEEP_LEARNING_ROOT_GIB}",
        )


def clients_get_in(config: DeploymentConfig) -> Iterator[Problem]:
    """In a cloud, the file says who may reach the gateway, and names the whole internet explicitly."""
    network = config.network
    if network.clients_from_anywhere and network.client_cidrs:
        yield Problem("network.client_cidrs", "has no effect with clients_from_anywhere: true", "keep one of the two")
    if config.cloud in RENTED and not network.client_cidrs and not network.clients_from_anywhere:
        yield Problem(
            "network.client_cidrs",
            f"is missing, and cloud {config.cloud} needs it",
            "write e.g. [203.0.113.0/24], or clients_from_anywhere: true",
        )


def engine_ports_stay_closed(config: DeploymentConfig) -> Iterator[Problem]:
    """In a cloud, the gateway does not use the port of an engine: the guards would refuse it during `up`."""
    port = config.gateway.port
    if config.cloud in RENTED and port in ENGINE_PORTS and port != config.serving.port:
        yield Problem("gateway.port", f"{port} is a port of an engine and is never opened", "write 443")


SPOT_AND_ACCESS_RULES = (
    market,
    can_be_stopped,
    needs_spot,
    engine_ports_stay_closed,
    credits_go_with_type,
    budget_has_account,
    kept_resources_exist,
    root_disk_holds_image,
    clients_get_in,
)
