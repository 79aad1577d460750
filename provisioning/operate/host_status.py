"""The status of one host as values. Queries no host; docs/operations.md documents the fields."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from infra.contract.outputs import HostRecord
from provisioning.operate.fabric_status import Fabric
from provisioning.operate.provider_tries import ProviderTries
from provisioning.operate.unit_state import UnitState
from provisioning.roles.host.layout import ENGINE_UNIT, GATEWAY_UNIT, GUARD_TABLE, MONITORING_UNITS, WATCH_UNIT

DRAINS = "drains: "
"""How the watcher of an engine begins to say why its host takes no new requests (services/engine_watch/report.py)."""


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
    """HAProxy's state of the engine: `UP`, `DOWN`, `DRAIN`. Of several, `UP` if one is."""
    hosts: Mapping[str, str]
    """The same of each host behind the gateway, by name."""
    why: Mapping[str, str] = field(default_factory=dict)
    """What the watcher of a host says that takes no new requests, by name. HAProxy does not keep it."""


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
class FiringAlert:
    """An alert of the stack that fires now."""

    name: str
    severity: str
    summary: str
    do: str


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Each model's answer to a request for one token. An engine may answer health checks and yet compute nothing."""

    seconds: Mapping[str, float]
    """Time to the token, by model; for Ollama only of the model in memory."""
    problem: str = ""
    """Which model produced no token, and why."""
    busy: bool = False
    """Whether no token came in time because the engine was busy with other requests."""

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
    """All models that the engine lists, adapters too; None if it does not answer."""
    adapters: tuple[str, ...] = ()
    """All of `models` except the base model."""
    missing_models: tuple[str, ...] = ()
    refused_adapters: Mapping[str, str] = field(default_factory=dict)
    """Adapters that the engine skipped at its start, each with the engine's reason."""
    tokens: Tokens | None = None
    """None if the engine lists no models, or was not queried."""
    licence: str = ""
    """Licence of the base model as the stack file names it; empty if it names none."""
    loaded: tuple[LoadedModel, ...] = ()
    """Models in memory; only Ollama reports them."""
    queue: Queue | None = None
    """None if no gateway runs."""
    providers: tuple[ProviderTries, ...] = ()
    """Providers of overflow that were tried since the service started."""
    unresolved: Mapping[str, str] = field(default_factory=dict)
    """Host names of providers that this host cannot look up, each with the reason."""
    lost_tables: tuple[str, ...] = ()
    """Tables of firewall and engine guard that the kernel lacks, or that differ from their files, as sentences."""
    closed_by: tuple[str, ...] = ()
    """Other firewalls of the host without a rule for the gateway's port, as sentences."""
    engine_wanted: bool = True
    """False on the gateway's host of a tunnel, and on one in front of other hosts."""
    engine_on_loopback: bool = True
    """Whether an engine answers on this host's loopback, its own or through a tunnel. False in front of other hosts."""
    gateway_wanted: bool = True
    """False on the engine's host of a tunnel. A door counts as a gateway."""
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
    """Seconds that the host's clock is ahead of this computer's; negative if it is behind."""
    reboot_pending: bool = False
    reboot_needed_by: tuple[str, ...] = ()
    """Packages that need the reboot, if known."""
    alerts: tuple[FiringAlert, ...] = ()
    """Only of a gateway's host with monitoring; empty if neither Alertmanager nor Prometheus answers."""
    last_errors: tuple[str, ...] = ()
    unseen: Mapping[str, str] = field(default_factory=dict)
    """Checks that failed, each with the reason."""

    def unit(self, name: str) -> UnitState | None:
        """Return the unit called `name`; None if it is not installed."""
        return next((unit for unit in self.units if unit.name == name), None)

    @property
    def engine_passing(self) -> str:
        """What systemd is doing with the engine's unit; empty if nothing."""
        return next((unit.passing for unit in self.units if unit.name in ENGINE_UNIT.values()), "")

    @property
    def lost(self) -> tuple[tuple[str, str], ...]:
        """The missing or changed tables, each as (owner, what is wrong)."""
        names = ["engine guard" if f"table {GUARD_TABLE} " in words else "firewall" for words in self.lost_tables]
        return tuple(zip(names, self.lost_tables, strict=True))

    @property
    def engine_installed(self) -> bool:
        """Whether this host has an engine."""
        return any(unit.name in ENGINE_UNIT.values() for unit in self.units)

    @property
    def missing(self) -> str:
        """A sentence about each installed part that does not work, or not yet; empty if all work."""
        if self.error:
            return self.error
        names = {unit.name for unit in self.units}
        # A host serves without its monitoring; the screen marks such a unit.
        units = [unit for unit in self.units if unit.name not in MONITORING_UNITS]
        words = [f"{unit.name} is {unit.words}" for unit in units if not unit.active]
        words += [f"{name}: {what}" for name, what in self.lost]
        words += [self.fabric.problem] if self.fabric is not None and self.fabric.problem else []
        if not words and self.engine_installed:
            words += ["the engine does not answer yet"] if self.models is None else []
            words += [f"the engine refuses {name}: {why}" for name, why in self.refused_adapters.items()]
            words += [f"the engine does not list {n}" for n in self.missing_models if n not in self.refused_adapters]
            words += [f"no token from {self.tokens.problem}"] if self.tokens and self.tokens.failed else []
        if not words and GATEWAY_UNIT in names and self.certificate_days is None:
            words.append("the gateway does not answer yet")
        if not words and not self.engine_on_loopback and not (self.queue and self.queue.engine.startswith("UP")):
            words.append("no host behind the gateway is up yet")
        if not words and self.queue and self.queue.engine.startswith("DOWN"):
            words.append("the gateway does not let requests in yet")
        return "; ".join(words)

    @property
    def serves(self) -> bool:
        """Whether the engine and the host's gateway are installed and work, with a valid certificate."""
        days = self.certificate_days  # 0 for a certificate in its last day
        opens = (days is not None and days >= 0) if self.gateway_wanted else True
        return not self.missing and (self.models is not None or not self.engine_on_loopback) and opens

    def as_json(self) -> dict[str, Any]:
        """Return the values for status.json and --json."""
        return {**asdict(self), "serves": self.serves, "missing": self.missing}


def with_reasons(seen: Sequence[HostStatus]) -> list[HostStatus]:
    """Return the statuses; those of gateways say why a host takes no new requests, from that host's own watcher."""
    watchers = [(status.host, unit.says) for status in seen for unit in status.units if unit.name == WATCH_UNIT]
    why = {host: says.removeprefix(DRAINS) for host, says in watchers if says.startswith(DRAINS)}

    def one(status: HostStatus) -> HostStatus:
        if status.queue is None:
            return status
        behind = {host: why[host] for host in status.queue.hosts if host in why}
        return replace(status, queue=replace(status.queue, why=behind))

    return [one(status) for status in seen]


def unseen(host: HostRecord, error: str, *, now: datetime) -> HostStatus:
    """Return the status of a host that could not be queried; if its lifetime has ended, the error says so."""
    if host.ends_at is not None and host.ends_at <= now:
        ended = f"{host.ends_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        error += f" (its lifetime ended at {ended}: `make orphans CLOUD={host.cloud}` shows what still costs money)"
    return HostStatus(host=host.name, address=host.address, error=error)
