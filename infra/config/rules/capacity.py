"""Rules about the model and its machine: GPU features, memory, disk.

Sizes come from the name of the model. A model of unknown size passes.
"""

from collections.abc import Iterator
from dataclasses import replace

from catalog.machines import Machine, find_machine, machines
from core.reading.rules import Problem
from infra.capacity.gpu_features import unfit, unfit_on_cpu
from infra.capacity.memory_need import disk_gib, need, need_in_ram
from infra.config.models.deployment import DeploymentConfig
from infra.config.rules.gateway_machine import gateway_type
from serving.spec.gateway_places import host_places
from serving.spec.gateway_size import alone_gib, reserved_alone_mib, reserved_mib, too_large

DATA_HEADROOM_GIB = 10
"""Space on the data volume beside the weights: adapters, the engine's environment, a download in progress."""

LOCAL_HEADROOM_GIB = 20
"""The same on the disk of a local machine, which also has the system."""

GRAFANA_MACHINE_GIB = 2
"""Memory of a machine with gateway, Prometheus and Grafana: their limits are a quarter, 384 and 768 MiB."""


def gpu_can_compute(config: DeploymentConfig) -> Iterator[Problem]:
    """The GPU of every machine type that may be tried can compute the model."""
    for machine in _candidates(config):
        if machine.gpu is not None:
            yield from unfit(config.serving, machine.gpu, machine.type, "another machine type")


def options_fit_processor(config: DeploymentConfig) -> Iterator[Problem]:
    """GPU options are for machines with a GPU, CPU options for machines without one."""
    serving = config.serving
    written = serving.vllm.model_fields_set
    if serving.engine != "vllm" or not (config.cloud == "local" or _candidates(config)):
        return
    name = config.machine.type or "a local machine"
    if any(machine.gpu for machine in _candidates(config)):
        if "kv_cache_gib" in written:
            yield Problem(
                "serving.vllm.kv_cache_gib",
                f"is for machines without a GPU, and {name} has a GPU",
                "leave it out, gpu_memory_fraction sets the cache",
            )
        return
    if "gpu_memory_fraction" in written:
        yield Problem("serving.vllm.gpu_memory_fraction", f"is for GPUs, and {name} has none", "leave it out")
    yield from unfit_on_cpu(serving, name)


def memory_limit_is_there(config: DeploymentConfig) -> Iterator[Problem]:
    """The memory limit of the engine is not above the memory of the machine."""
    limit = config.serving.memory_max_gib
    for name, memory_gib in _memory(config):
        if limit is not None and limit > memory_gib:
            yield Problem(
                f"serving.{config.serving.engine}.memory_max_gib",
                f"{limit:g} GiB is more than the {memory_gib:g} GiB of {name}",
                "write less or leave it out",
            )


def model_fits_memory(config: DeploymentConfig) -> Iterator[Problem]:
    """Weights, KV cache and the engine's own memory fit on every machine that may be created."""
    serving = config.serving
    if config.cloud == "local":
        needs = [need_in_ram(serving, config.machine.memory_gib, "machine.memory_gib")]
    else:
        needs = [need(serving, machine) for machine in _candidates(config)]
    for each in needs:
        if not each.fits:
            hint = "take a larger machine, a smaller or quantised model, or a shorter context"
            if each.weights or serving.engine != "vllm":
                yield Problem("serving.model", str(each), hint)
            else:
                yield Problem("serving.vllm.kv_cache_gib", str(each), "take a larger machine, or write less")


def weights_fit_disk(config: DeploymentConfig) -> Iterator[Problem]:
    """The data volume, or the disk of a local machine, holds the weights if their size is known."""
    stored = disk_gib(config.serving)
    if config.cloud == "local" and stored is not None and stored >= config.machine.disk_gib:
        what = f"{config.machine.disk_gib:g} GiB does not hold {stored:.1f} GiB of weights"
        yield Problem("machine.disk_gib", what, f"write at least {int(stored) + LOCAL_HEADROOM_GIB}")
    asked = config.storage.data_gib
    if asked is not None and stored is not None and stored + DATA_HEADROOM_GIB > asked:
        yield Problem(
            "storage.data_gib",
            f"{asked} GiB does not hold {stored:.1f} GiB of weights and {DATA_HEADROOM_GIB} GiB of other files",
            f"write at least {int(stored + DATA_HEADROOM_GIB) + 1}, or leave it out",
        )


def _larger_gateway(config: DeploymentConfig, gib: int) -> str:
    """Return what to write for a gateway's machine with `gib` of memory; empty if the catalog has none."""
    if config.cloud == "local":
        return f"write gateway.machine.memory_gib: {gib}"
    engines = find_machine(config.cloud, config.machine.type or "")
    rows = [each for each in machines().values() if each.cloud == config.cloud and each.gpu is None]
    fits = [each for each in rows if each.memory_gib >= gib and (engines is None or each.arch == engines.arch)]
    smallest = min(fits, key=lambda each: (each.memory_gib, each.vcpus, each.type), default=None)
    return "" if smallest is None else f"write gateway.machine.type: {smallest.type}"


def gateway_fits_memory(config: DeploymentConfig) -> Iterator[Problem]:
    """HAProxy's largest use of memory fits into the memory that each machine keeps for it."""
    own, places = config.gateway.machine, host_places(config.serving, config.gateway)
    if own is not None:
        row = find_machine(config.cloud, gateway_type(config) or "")
        memory_gib = own.memory_gib if config.cloud == "local" else row.memory_gib if row is not None else None
        if memory_gib is not None:
            every = places * config.machine.count
            for pool in config.pools.values():
                every += host_places(pool.serving, config.gateway) * pool.machine.count
            queues = len(config.machines)
            reserved = reserved_alone_mib(memory_gib, config.gateway)
            problem = too_large(config.gateway, every, reserved, "the gateway's machine", queues)
            if problem is not None:
                larger = _larger_gateway(config, alone_gib(config.gateway, every, queues))
                yield replace(problem, hint=f"{larger}; or {problem.hint}" if larger else problem.hint)
            if config.gateway.grafana is not None and memory_gib < GRAFANA_MACHINE_GIB:
                what = f"does not fit beside HAProxy and Prometheus into {memory_gib:g} GiB of memory"
                hint = f"give gateway.machine at least {GRAFANA_MACHINE_GIB} GiB, or leave it out"
                yield Problem("gateway.monitoring.grafana", what, hint)
        return
    if config.cloud == "local":
        hosts = [("a local machine", reserved_mib(config.machine.memory_gib, gpu=False))]
    else:
        hosts = [(each.type, reserved_mib(each.memory_gib, gpu=each.gpu is not None)) for each in _candidates(config)]
    problems = (too_large(config.gateway, places, reserved, name) for name, reserved in hosts)
    yield from (problem for problem in problems if problem is not None)


def _memory(config: DeploymentConfig) -> list[tuple[str, float]]:
    """Return each machine that may be created, with its memory in GiB."""
    if config.cloud == "local":
        return [("machine.memory_gib", config.machine.memory_gib)]
    return [(machine.type, machine.memory_gib) for machine in _candidates(config)]


def _candidates(config: DeploymentConfig) -> list[Machine]:
    """Return the known machine types that engines may get, in order."""
    names = (config.machine.type or "", *config.machine.fallbacks)
    return [row for name in names if (row := find_machine(config.cloud, name))]


POOL_RULES = (
    gpu_can_compute,
    options_fit_processor,
    memory_limit_is_there,
    model_fits_memory,
    weights_fit_disk,
)
"""Rules about the machines and the model of one pool."""

CAPACITY_RULES = (*POOL_RULES, gateway_fits_memory)
