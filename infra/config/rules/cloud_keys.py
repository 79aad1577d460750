"""The keys that each cloud takes, and those that it needs. A key that a cloud would ignore is an error."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from catalog.clouds import MADE, RENTED
from core.reading.config_keys import join
from core.reading.frozen import Frozen
from core.reading.rules import Problem
from infra.config.models.deployment import DeploymentConfig
from infra.config.rules.location import EXAMPLE_PROJECT

CLOUDS_OF_KEY: dict[str, tuple[str, ...]] = {
    "region": RENTED,
    "zones": RENTED,
    "project": ("gcp",),
    "account": ("aws",),
    "inventory": ("existing",),
    "machine": MADE,
    "machine.type": RENTED,
    "machine.fallbacks": RENTED,
    "machine.memory_gib": ("local",),
    "machine.disk_gib": ("local",),
    "machine.cpus": ("local",),
    "machine.market": RENTED,
    "machine.spot_max_usd_per_hour": ("aws",),
    "machine.drain_on_rebalance": ("aws",),
    "machine.cpu_credits": ("aws",),
    "machine.identity_file": RENTED,
    "machine.placement_timeout_s": RENTED,
    "gateway.machine": MADE,
    "gateway.machine.type": RENTED,
    "gateway.machine.memory_gib": ("local",),
    "gateway.machine.disk_gib": ("local",),
    "gateway.machine.cpus": ("local",),
    "network": MADE,
    "network.id": RENTED,
    "network.subnets": RENTED,
    "network.cidr": RENTED,
    "network.clients_from_anywhere": RENTED,
    "proxy": MADE,
    "storage": RENTED,
    "storage.kms_key": ("aws",),
    "storage.data_mib_per_s": ("aws",),
    "iam": ("aws",),
    "lifetime": RENTED,
    "lifetime.budget.billing_account": ("gcp",),
    "tags": RENTED,
}
"""Keys that not every cloud takes."""

NEEDED: dict[str, tuple[str, ...]] = {
    "local": (),
    "aws": ("region", "machine.type", "network.ssh_cidrs"),
    "gcp": ("project", "region", "machine.type", "network.ssh_cidrs"),
    "existing": ("inventory",),
}
"""Keys that a cloud needs. The models have a default for them, because other clouds do not need them."""

INSTEAD = {
    ("local", "machine.type"): "write memory_gib and cpus instead",
    ("local", "gateway.machine.type"): "write memory_gib and cpus instead",
    ("existing", "proxy"): "write proxy on the hosts of the inventory",
    ("aws", "machine.disk_gib"): "write storage.root_gib and storage.data_gib instead",
    ("aws", "gateway.machine.memory_gib"): "leave it out, the machine type sets the memory",
    ("gcp", "gateway.machine.memory_gib"): "leave it out, the machine type sets the memory",
    ("aws", "gateway.machine.cpus"): "leave it out, the machine type sets the processors",
    ("gcp", "gateway.machine.cpus"): "leave it out, the machine type sets the processors",
    ("gcp", "machine.disk_gib"): "write storage.root_gib and storage.data_gib instead",
    ("aws", "machine.memory_gib"): "leave it out, the machine type sets the memory",
    ("gcp", "machine.memory_gib"): "leave it out, the machine type sets the memory",
    ("aws", "machine.cpus"): "leave it out, the machine type sets the processors",
    ("gcp", "machine.cpus"): "leave it out, the machine type sets the processors",
    ("existing", "network"): "write ssh_cidrs and client_cidrs on the hosts of the inventory",
    ("existing", "gateway.machine"): "write gateway_host in the inventory",
    ("existing", "machine"): "leave it out, the inventory describes the hosts",
    ("gcp", "machine.spot_max_usd_per_hour"): "leave it out, GCP has no price cap",
    ("gcp", "machine.drain_on_rebalance"): "leave it out, GCP recommends no rebalance",
    ("gcp", "storage.data_mib_per_s"): "write a larger data_gib: on GCP a larger disk is faster",
    ("gcp", "storage.kms_key"): "leave it out, GCP encrypts every disk with its own key",
    ("local", "lifetime"): "leave it out, a local machine costs nothing",
}
"""What to write instead of a key that the cloud does not take, where "leave it out" is not enough."""

EXAMPLES = {
    "region": "ap-northeast-2 (aws) or asia-northeast3 (gcp)",
    "machine.type": "g5.xlarge (aws) or g2-standard-4 (gcp)",
    "network.ssh_cidrs": "[203.0.113.7/32], your own address",
    "project": EXAMPLE_PROJECT,
    "inventory": "hosts.yaml",
}


def keys_belong(config: DeploymentConfig) -> Iterator[Problem]:
    """The cloud takes every key of the file."""
    yield from _foreign_keys(config.cloud, _written(config))


def keys_of_other_clouds(value: Any, places: Iterable[tuple[int | str, ...]]) -> Iterator[Problem]:
    """Yield the keys of the unchecked `value` that its cloud does not take, if one of `places` is below such a key.

    Without this, an error would ask for another value of a key that must be left out.
    """
    cloud = value.get("cloud") if isinstance(value, Mapping) else None
    if not isinstance(cloud, str) or cloud not in NEEDED:
        return
    found = list(_foreign_keys(cloud, _written_in(value)))
    keys = [tuple(problem.key.split(".")) for problem in found]
    if any(place[: len(key)] == key for place in places for key in keys):
        yield from found


def refused_keys(value: Any) -> tuple[str, ...]:
    """Return the keys that the cloud of the unchecked `value` does not take; none if it names no known cloud."""
    cloud = value.get("cloud") if isinstance(value, Mapping) else None
    if not isinstance(cloud, str) or cloud not in NEEDED:
        return ()
    return tuple(key for key, clouds in CLOUDS_OF_KEY.items() if cloud not in clouds)


def _foreign_keys(cloud: str, keys: Iterable[str]) -> Iterator[Problem]:
    """Yield a problem for each of `keys`, outermost first, that the cloud does not take."""
    refused: list[str] = []
    for key in keys:
        clouds = CLOUDS_OF_KEY.get(key)
        if clouds is None or cloud in clouds or any(key.startswith(f"{above}.") for above in refused):
            continue
        refused.append(key)
        others = f", it is for {' and '.join(clouds)} only" if clouds else ""
        hint = INSTEAD.get((cloud, key), f"leave it out{others}")
        yield Problem(key, f"is not used with cloud {cloud}", hint)


def needed_keys_are_there(config: DeploymentConfig) -> Iterator[Problem]:
    """The file has every key that the cloud needs."""
    for key in NEEDED[config.cloud]:
        if not _value(config, key):
            yield Problem(key, f"is missing, and cloud {config.cloud} needs it", f"write e.g. {EXAMPLES[key]}")


def _written(model: Frozen, above: str = "") -> Iterator[str]:
    """Yield the keys that the file has, outermost first."""
    for name in type(model).model_fields:
        if name in model.model_fields_set:
            key = join(above, name)
            yield key
            value = getattr(model, name)
            if isinstance(value, Frozen):
                yield from _written(value, key)


def _written_in(value: Mapping[Any, Any], above: str = "") -> Iterator[str]:
    """Yield the keys of a mapping, outermost first."""
    for name, below in value.items():
        key = join(above, str(name))
        yield key
        if isinstance(below, Mapping):
            yield from _written_in(below, key)


def _value(model: Any, key: str) -> Any:
    """Return the value at a dotted key."""
    for name in key.split("."):
        model = getattr(model, name)
    return model
