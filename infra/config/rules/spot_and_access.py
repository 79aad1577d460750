"""Rules about money, time and who gets in: market, schedule, budget, what is kept, doors."""

from collections.abc import Iterator

from catalog.clouds import RENTED
from catalog.machines import find_machine
from core.ports import ENGINE_PORTS
from core.rules import Problem
from infra.config.models.deployment import DeploymentConfig

CREDIT_FAMILIES = ("t2", "t3", "t3a", "t4g")
"""Families of AWS that compute on credit; without a word, t3 and later would be billed beyond it."""

SPOT_ONLY = ("a3-highgpu-1g", "a3-highgpu-2g", "a3-highgpu-4g")
"""Types that GCP makes as spot or flex-start machines only, by its page on accelerator-optimized machines (A3 High)."""

DEEP_LEARNING_ROOT_GIB = 100
"""Smallest root disk for the deep-learning images, which bring CUDA in several versions."""


def market(config: DeploymentConfig) -> Iterator[Problem]:
    """Spot options go with spot machines, which no schedule can start again."""
    machine = config.machine
    if machine.spot_max_usd_per_hour is not None and machine.market != "spot":
        yield Problem("machine.spot_max_usd_per_hour", "is for market spot", "leave it out, or write market: spot")
    if machine.market == "spot" and config.lifetime.weekly is not None:
        yield Problem(
            "lifetime.weekly",
            "stops machines, and a stopped spot machine is gone",
            "leave it out, or write market: on_demand",
        )


def can_be_stopped(config: DeploymentConfig) -> Iterator[Problem]:
    """A weekly schedule stops machines, which GCP refuses for those with local SSDs.

    GCP stops them only with `--discard-local-ssd`, which an instance schedule cannot say
    (https://cloud.google.com/compute/docs/disks/local-ssd). AWS stops such machines and clears their instance store,
    in which nothing of ours lies.
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
    """GCP has no on-demand machines of some types."""
    machine = config.machine
    if config.cloud != "gcp" or machine.market == "spot":
        return
    for key, each in (("type", machine.type), *((f"fallbacks[{i}]", each) for i, each in enumerate(machine.fallbacks))):
        if each in SPOT_ONLY:
            yield Problem(f"machine.{key}", f"{each} is not there on demand", "write market: spot, or a3-highgpu-8g")


def credits_go_with_type(config: DeploymentConfig) -> Iterator[Problem]:
    """CPU credits are set where there are any."""
    machine = config.machine
    row = find_machine("aws", machine.type or "")
    if machine.cpu_credits is not None and row is not None and row.family not in CREDIT_FAMILIES:
        yield Problem("machine.cpu_credits", f"is for t-types, and {row.type} is none", "leave it out")


def budget_has_account(config: DeploymentConfig) -> Iterator[Problem]:
    """A budget of GCP hangs on a billing account."""
    budget = config.lifetime.budget
    if config.cloud == "gcp" and budget is not None and budget.billing_account is None:
        yield Problem(
            "lifetime.budget.billing_account",
            "is missing, and cloud gcp needs it",
            "write the id that `gcloud billing accounts list` prints",
        )


def kept_resources_exist(config: DeploymentConfig) -> Iterator[Problem]:
    """Only what is made can be kept."""
    storage = config.storage
    for index, kept in enumerate(storage.keep_on_down):
        if kept == "bucket" and storage.bucket is None:
            yield Problem(
                f"storage.keep_on_down[{index}]", "bucket is kept, but there is none", "write storage.bucket: {} too"
            )
        if kept == "bucket" and storage.bucket is not None and storage.bucket.name is not None:
            yield Problem(
                f"storage.keep_on_down[{index}]", "bucket is an existing one, never deleted anyway", "leave it out"
            )


def root_disk_holds_image(config: DeploymentConfig) -> Iterator[Problem]:
    """The root disk is not smaller than the image."""
    if config.machine.image == "deep-learning" and config.storage.root_gib < DEEP_LEARNING_ROOT_GIB:
        yield Problem(
            "storage.root_gib",
            f"{config.storage.root_gib} GiB does not hold the deep-learning image",
            f"write at least {DEEP_LEARNING_ROOT_GIB}",
        )


def clients_get_in(config: DeploymentConfig) -> Iterator[Problem]:
    """In a cloud it is said who may reach the gateway; the whole world only in so many words."""
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
    """In a cloud the gateway's door is none of those that engines use: the guards would refuse it during `up`."""
    port = config.gateway.port
    if config.cloud in RENTED and port in ENGINE_PORTS and port != config.serving.port:
        yield Problem("gateway.port", f"{port} is where engines listen, and is never opened", "write 443")


UPKEEP_RULES = (
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
