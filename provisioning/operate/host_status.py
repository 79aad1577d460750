"""The status of one host, read from its report. Queries no host; docs/operations.md documents the fields."""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.hosts.topology import HostRole, Topology
from provisioning.operate.fabric_status import Fabric, read_fabric
from provisioning.programs.firewall import other_firewalls
from provisioning.roles.host.layout import ENGINE_UNIT, GATEWAY_UNIT, GUARD_TABLE

GIB = 1024**3
MIB_PER_GIB = 1024

RESULT_WORDS = {
    "oom-kill": "killed for lack of memory",
    "start-limit-hit": "failed repeatedly",
    "timeout": "took too long",
    "watchdog": "hung",
    "signal": "was killed",
    "core-dump": "crashed",
    "exit-code": "ended with status {status}",
}
"""systemd's `Result`, in plain words."""


CAME_BACK = ", restarted by systemd"


@dataclass(frozen=True, kw_only=True)
class UnitState:
    """One of our systemd units."""

    name: str
    active: bool
    words: str
    """systemd's words, e.g. `active (running)`, how it ended, and how often systemd restarted it."""
    since: str = ""
    restarts: int = 0
    """How often systemd restarted it after it died."""
    gave_up: bool = False
    """Whether systemd no longer restarts it."""
    invocation: str = ""
    """systemd's id of the present start."""

    @property
    def passing(self) -> str:
        """What systemd is doing with it: `stopping`, `starting`, `restarting` after it died, or empty."""
        if self.words.startswith("activating (auto-restart)"):
            return "restarting"
        return {"deactivating": "stopping", "activating": "starting"}.get(self.words.partition(" ")[0], "")

    def has_failed(self, starts: int) -> bool:
        """Return whether systemd gave up on it, or it died `starts` times."""
        return not self.active and (self.gave_up or self.restarts >= starts)


@dataclass(frozen=True, kw_only=True)
class Space:
    """A disk, the memory, or the swap; GiB."""

    name: str
    free_gib: float
    total_gib: float


@dataclass(frozen=True, kw_only=True)
class Queue:
    """Requests that the gateway forwards and queues, at the time of the query."""

    running: int
    waiting: int
    max_running: int
    max_waiting: int
    engine: str
    """HAProxy's state of the engine: `UP`, `DOWN`, `DRAIN`."""


@dataclass(frozen=True, kw_only=True)
class GpuState:
    """One GPU as nvidia-smi reports it; None: nvidia-smi does not know."""

    name: str
    driver: str
    used_gib: float | None
    total_gib: float | None
    busy_percent: float | None
    celsius: float | None


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model that Ollama holds in memory."""

    name: str
    gib: float
    gpu_percent: int


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The answer of each model to a request for one token: an engine may answer health checks but compute nothing."""

    seconds: Mapping[str, float]
    """Time to the token, by model. Ollama: only of the model in memory."""
    problem: str = ""
    """Which model produced none, and why."""
    busy: bool = False
    """Whether none came in time because the engine was busy with other requests."""

    @property
    def failed(self) -> bool:
        """Whether the engine does not compute."""
        return bool(self.problem) and not self.busy


@dataclass(frozen=True, kw_only=True)
class HostStatus:
    """The status of one host; a host that could not be queried has an `error` and nothing else."""

    host: str
    address: str
    error: str = ""
    boot_id: str = ""
    kernel: str = ""
    units: tuple[UnitState, ...] = ()
    engine: str = ""
    engine_version: str = ""
    """Version of the engine that answers; empty if none does."""
    former_version: str = ""
    """The release that a rollback would return to."""
    models: tuple[str, ...] | None = None
    """All that the engine lists, with adapters; None if it does not answer."""
    adapters: tuple[str, ...] = ()
    """Those of `models` that are not the base model."""
    missing_models: tuple[str, ...] = ()
    refused_adapters: Mapping[str, str] = field(default_factory=dict)
    """Those that the engine skipped at its start, with its reasons."""
    tokens: Tokens | None = None
    """None if the engine lists no models, or was not queried."""
    licence: str = ""
    """Of the base model, as in the config; empty if it names none."""
    loaded: tuple[LoadedModel, ...] = ()
    """Ollama only."""
    queue: Queue | None = None
    """None if no gateway runs."""
    lost_tables: tuple[str, ...] = ()
    """Tables of firewall and engine guard that the kernel lacks, or that differ from their files, as sentences."""
    closed_by: tuple[str, ...] = ()
    """Other firewalls of the host without a rule for the gateway's port, as sentences."""
    engine_wanted: bool = True
    """False on the gateway's host of a tunnel."""
    gateway_wanted: bool = True
    """False on the engine's host of a tunnel."""
    certificate_days: int | None = None
    space: tuple[Space, ...] = ()
    """Disks that hold `/` and the models, `memory`, and `swap` if there is some."""
    oom_kills: int = 0
    """Processes that the kernel killed for lack of memory since the last boot."""
    gpus: tuple[GpuState, ...] = ()
    fabric: Fabric | None = None
    """None on a host without NVLink switches or without a used GPU."""
    gpu_wanted: bool = False
    """Whether the host's record says that it has a GPU."""
    clock_ahead_s: float | None = None
    """Against the clock of this computer; negative when it is behind."""
    reboot_pending: bool = False
    reboot_needed_by: tuple[str, ...] = ()
    """Packages that need it, if known."""
    last_errors: tuple[str, ...] = ()
    unseen: Mapping[str, str] = field(default_factory=dict)
    """What could not be checked, and why."""

    def unit(self, name: str) -> UnitState | None:
        """Return the unit called `name`; None if it is not installed."""
        return next((unit for unit in self.units if unit.name == name), None)

    @property
    def engine_passing(self) -> str:
        """What systemd is doing with the engine's unit; empty if nothing."""
        return next((unit.passing for unit in self.units if unit.name in ENGINE_UNIT.values()), "")

    @property
    def lost(self) -> tuple[tuple[str, str], ...]:
        """The missing or changed tables: whose each is, and what is wrong with it."""
        names = ["engine guard" if f"table {GUARD_TABLE} " in words else "firewall" for words in self.lost_tables]
        return tuple(zip(names, self.lost_tables, strict=True))

    @property
    def engine_installed(self) -> bool:
        """Whether this host has an engine."""
        return any(unit.name in ENGINE_UNIT.values() for unit in self.units)

    @property
    def missing(self) -> str:
        """What is installed but does not work (yet), as a sentence; empty if everything works."""
        if self.error:
            return self.error
        names = {unit.name for unit in self.units}
        words = [f"{unit.name} is {unit.words}" for unit in self.units if not unit.active]
        words += [f"{name}: {what}" for name, what in self.lost]
        words += [self.fabric.problem] if self.fabric is not None and self.fabric.problem else []
        if not words and self.engine_installed:
            words += ["the engine does not answer yet"] if self.models is None else []
            words += [f"the engine refuses {name}: {why}" for name, why in self.refused_adapters.items()]
            words += [f"the engine does not list {n}" for n in self.missing_models if n not in self.refused_adapters]
            words += [f"no token of {self.tokens.problem}"] if self.tokens and self.tokens.failed else []
        if not words and GATEWAY_UNIT in names and self.certificate_days is None:
            words.append("the gateway does not answer yet")
        return "; ".join(words)

    @property
    def serves(self) -> bool:
        """Whether the engine and the host's gateway are installed and work, with a valid certificate."""
        days = self.certificate_days  # 0 for a certificate in its last day
        opens = (days is not None and days >= 0) if self.gateway_wanted else True
        return not self.missing and self.models is not None and opens

    def as_json(self) -> dict[str, Any]:
        """For status.json and --json."""
        return {**asdict(self), "serves": self.serves, "missing": self.missing}


def unseen(host: HostRecord, error: str, *, now: datetime) -> HostStatus:
    """Return the status of a host that could not be queried; if its lifetime has ended, the error says so."""
    if host.ends_at is not None and host.ends_at <= now:
        ended = f"{host.ends_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        error += f" (its lifetime ended at {ended}: `make orphans CLOUD={host.cloud}` shows what still costs money)"
    return HostStatus(host=host.name, address=host.address, error=error)


def read_report(report: Mapping[str, Any], outputs: StackOutputs, host: HostRecord, *, now: datetime) -> HostStatus:
    """Return the status from the output of the program `report`; a part that is null could not be checked."""
    base, *_ = wanted = outputs.serving.served_names
    models = None if report["models"] is None else tuple(report["models"])
    release = report["release"] or {}
    waits_for = report["reboot_needed_by"]
    roles = Topology(outputs).roles_of(host)
    return HostStatus(
        host=host.name,
        address=host.address,
        boot_id=report["boot_id"] or "",
        kernel=report["kernel"] or "",
        units=tuple(_unit(unit) for unit in report["units"] or ()),
        engine=outputs.serving.engine,
        engine_version=report["engine_version"] or "",
        former_version=release.get("former", ""),
        models=models,
        adapters=tuple(sorted(name for name in models or () if name != base)),
        missing_models=tuple(name for name in wanted if models is not None and name not in models),
        refused_adapters=report.get("refused") or {},
        tokens=Tokens(**report["tokens"]) if report.get("tokens") else None,
        licence=outputs.serving.model.licence_name,
        loaded=tuple(_loaded(each) for each in report["loaded"] or ()),
        queue=_queue(report["queue"], outputs),
        lost_tables=tuple(report["lost_tables"] or ()),
        closed_by=tuple(other_firewalls.words(**each) for each in report.get("closed_ports") or ()),
        engine_wanted=HostRole.ENGINE in roles,
        gateway_wanted=HostRole.GATEWAY in roles,
        certificate_days=_days_left(report["certificate"], now),
        space=_spaces(report),
        oom_kills=report["oom_kills"] or 0,
        gpus=tuple(_gpu(each) for each in report["gpus"] or ()),
        fabric=read_fabric(report.get("fabric")),
        gpu_wanted=host.gpu is not None,
        clock_ahead_s=None if report["time"] is None else round(report["time"] - now.timestamp(), 1),
        reboot_pending=waits_for is not None,
        reboot_needed_by=tuple(waits_for or ()),
        last_errors=tuple(report["errors"] or ()),
        unseen=report["unseen"],
    )


def _unit(seen: Mapping[str, str]) -> UnitState:
    """Return a unit as systemctl shows it."""
    active = seen["ActiveState"] == "active"
    restarts = int(seen.get("NRestarts") or 0)
    gave_up = seen["ActiveState"] == "failed"
    words = f"{seen['ActiveState']} ({seen['SubState']})"
    ended = RESULT_WORDS.get(seen.get("Result", ""), "")
    if ended and not active:
        words += f", {ended.format(status=seen.get('ExecMainStatus', '?'))}"
    if gave_up and restarts:
        words += f", systemd gave up after {restarts} starts"  # including the start that it refused
    elif restarts:
        words += f"{CAME_BACK} {'once' if restarts == 1 else f'{restarts} times'}"
    return UnitState(
        name=seen["Id"],
        active=active,
        words=words,
        since=seen.get("StateChangeTimestamp", ""),
        restarts=restarts,
        gave_up=gave_up,
        invocation=seen.get("InvocationID", ""),
    )


def _queue(seen: Mapping[str, Any] | None, outputs: StackOutputs) -> Queue | None:
    """Return the gateway's numbers with the config's bounds."""
    if seen is None:
        return None
    gateway = outputs.gateway
    return Queue(**seen, max_running=gateway.max_concurrency, max_waiting=gateway.max_queue)


def _spaces(report: Mapping[str, Any]) -> tuple[Space, ...]:
    """Return disks, memory and swap; one disk may hold both paths."""
    disks = {each["device"]: each for each in reversed(report["disks"] or ())}
    named = [(each["path"], each) for each in reversed(disks.values())]
    named += [(name, report[name]) for name in ("memory", "swap") if report[name] and report[name]["total_bytes"]]
    return tuple(
        Space(name=name, free_gib=each["free_bytes"] / GIB, total_gib=each["total_bytes"] / GIB) for name, each in named
    )


def _gpu(seen: Mapping[str, str]) -> GpuState:
    """Return a GPU; nvidia-smi writes `[N/A]` or `[GPU is lost]` for what it does not know."""

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
    from cryptography import x509  # 0.1 s

    return (
        x509.load_der_x509_certificate(base64.b64decode(certificate)).not_valid_after_utc - now.astimezone(UTC)
    ).days
