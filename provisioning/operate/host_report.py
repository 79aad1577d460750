"""The report of a host, read into its status. Queries no host: provisioning/programs/host/status_report.py does."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.hosts.topology import HostRole, Topology
from provisioning.operate.fabric_status import read_fabric
from provisioning.operate.host_status import FiringAlert, GpuState, HostStatus, LoadedModel, Queue, Space, Tokens
from provisioning.operate.provider_tries import read_tries
from provisioning.operate.unit_state import read_unit
from provisioning.programs.firewall import other_firewalls
from provisioning.roles.gateway.pools import engines_behind
from serving.spec.gateway_places import host_places

GIB = 1024**3
MIB_PER_GIB = 1024


def read_report(report: Mapping[str, Any], outputs: StackOutputs, host: HostRecord, *, now: datetime) -> HostStatus:
    """Return the status from the output of the program status_report; null is a part that could not be checked."""
    serving = outputs.serving_of(host)
    base, *_ = wanted = serving.served_names
    models = None if report["models"] is None else tuple(report["models"])
    release = report["release"] or {}
    waits_for = report["reboot_needed_by"]
    roles = Topology(outputs).roles_of(host)
    return HostStatus(
        host=host.name,
        address=host.address,
        boot_id=report["boot_id"] or "",
        kernel=report["kernel"] or "",
        units=tuple(read_unit(unit) for unit in report["units"] or ()),
        engine=serving.engine,
        engine_version=report["engine_version"] or "",
        former_version=release.get("former", ""),
        models=models,
        adapters=tuple(sorted(name for name in models or () if name != base)),
        missing_models=tuple(name for name in wanted if models is not None and name not in models),
        refused_adapters=report.get("refused") or {},
        tokens=Tokens(**report["tokens"]) if report.get("tokens") else None,
        licence=serving.model.licence_name,
        loaded=tuple(_loaded(each) for each in report["loaded"] or ()),
        queue=_queue(report["queue"], outputs, host),
        providers=read_tries(report.get("tries")),
        unresolved=report.get("unresolved") or {},
        engine_on_loopback=host.name != outputs.gateway_host,
        lost_tables=tuple(report["lost_tables"] or ()),
        closed_by=tuple(other_firewalls.words(**each) for each in report.get("closed_ports") or ()),
        engine_wanted=HostRole.ENGINE in roles,
        gateway_wanted=bool(roles & {HostRole.GATEWAY, HostRole.DOOR}),
        certificate_days=_days_left(report["certificate"], now),
        space=_spaces(report),
        oom_kills=report["oom_kills"] or 0,
        gpus=tuple(_gpu(each) for each in report["gpus"] or ()),
        fabric=read_fabric(report.get("fabric")),
        gpu_wanted=host.gpu is not None,
        clock_ahead_s=None if report["time"] is None else round(report["time"] - now.timestamp(), 1),
        reboot_pending=waits_for is not None,
        reboot_needed_by=tuple(waits_for or ()),
        alerts=tuple(FiringAlert(**each) for each in report.get("alerts") or ()),
        last_errors=tuple(report["errors"] or ()),
        unseen=report["unseen"],
    )


def _queue(seen: Mapping[str, Any] | None, outputs: StackOutputs, host: HostRecord) -> Queue | None:
    """Return the gateway's numbers with the config's bounds: each pool has a queue."""
    if seen is None:
        return None
    gateway, engines = outputs.gateway, engines_behind(outputs, host)
    places = sum(host_places(outputs.serving_of(engine), gateway) for engine in engines)
    queues = len({engine.pool for engine in engines})
    return Queue(**seen, max_running=places, max_waiting=gateway.max_queue * queues)


def _spaces(report: Mapping[str, Any]) -> tuple[Space, ...]:
    """Return disks, memory and swap. A disk that holds both paths is listed once."""
    disks = {each["device"]: each for each in reversed(report["disks"] or ())}
    named = [(each["path"], each) for each in reversed(disks.values())]
    named += [(name, report[name]) for name in ("memory", "swap") if report[name] and report[name]["total_bytes"]]
    return tuple(
        Space(name=name, free_gib=each["free_bytes"] / GIB, total_gib=each["total_bytes"] / GIB) for name, each in named
    )


def _gpu(seen: Mapping[str, str]) -> GpuState:
    """Return a GPU; nvidia-smi writes `[N/A]` or `[GPU is lost]` for a value that it does not know."""

    def number(name: str, per: float = 1.0) -> float | None:
        try:
            return float(seen[name]) / per
        except ValueError:
            return None

    return GpuState(
        name=seen["name"],
        driver=seen["driver_version"],
        used_gib=number("memory.used", MIB_PER_GIB),
        total_gib=number("memory.total", MIB_PER_GIB),
        busy_percent=number("utilization.gpu"),
        celsius=number("temperature.gpu"),
    )


def _loaded(seen: Mapping[str, Any]) -> LoadedModel:
    """Return a model as Ollama's /api/ps has it."""
    share = seen["vram_bytes"] / seen["bytes"] if seen["bytes"] else 0.0
    return LoadedModel(name=seen["name"], gib=seen["bytes"] / GIB, gpu_percent=round(100 * share))


def _days_left(certificate: str | None, now: datetime) -> int | None:
    """Return for how many whole days a certificate (base64 of DER) is still valid; negative if it has expired."""
    if not certificate:
        return None
    from cryptography import x509  # takes 0.1 s

    return (
        x509.load_der_x509_certificate(base64.b64decode(certificate)).not_valid_after_utc - now.astimezone(UTC)
    ).days
