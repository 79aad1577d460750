"""How the hosts are: one screen per host, or JSON. Changes nothing."""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.console import next_command
from core.errors import DeployError
from core.runs import write_result
from infra.outputs import HostRecord, StackOutputs
from provisioning.connection import connect
from provisioning.fleet import on_each
from provisioning.inventory import choose, load
from provisioning.remote import run_program
from provisioning.roles.layout import ENGINE_ENV, ENGINE_UNIT, FIREWALL_UNIT, GATEWAY_UNIT
from provisioning.target import Target

if TYPE_CHECKING:
    import fabric

GIB = 1024**3
CERTIFICATE_SOON_DAYS = 14
LITTLE = 0.1
"""Share of a disk or of the memory below which it is worth a mark."""


@dataclass(frozen=True, kw_only=True)
class UnitState:
    """One systemd unit of ours."""

    name: str
    active: bool
    words: str
    """systemd's words, e.g. `active (running)`, and how often it came back by itself."""
    since: str = ""
    restarts: int = 0
    """How often systemd started it again after it died."""
    invocation: str = ""
    """systemd's id of the present start."""

    def has_failed(self, starts: int) -> bool:
        """Return whether systemd gave up on it, or it died `starts` times."""
        return not self.active and ("failed" in self.words or self.restarts >= starts)


@dataclass(frozen=True, kw_only=True)
class Space:
    """A disk, or the memory; GiB."""

    name: str
    free_gib: float
    total_gib: float


@dataclass(frozen=True, kw_only=True)
class HostStatus:
    """One host as it was seen; a host that could not be asked has an `error` and nothing else."""

    host: str
    address: str
    error: str = ""
    boot_id: str = ""
    units: tuple[UnitState, ...] = ()
    models: tuple[str, ...] | None = None
    """What the engine lists; none when it does not answer."""
    missing_models: tuple[str, ...] = ()
    certificate_days: int | None = None
    space: tuple[Space, ...] = ()
    """Disks that hold `/` and the models, and memory."""
    reboot_pending: bool = False
    last_errors: tuple[str, ...] = ()

    def unit(self, name: str) -> UnitState | None:
        """Return the unit called `name`; none when it is not installed."""
        return next((unit for unit in self.units if unit.name == name), None)

    @property
    def missing(self) -> str:
        """What of all that is installed does not work (yet), in words; nothing when all of it does."""
        if self.error:
            return self.error
        names = {unit.name for unit in self.units}
        words = [f"{unit.name} is {unit.words}" for unit in self.units if not unit.active]
        if not words and names & set(ENGINE_UNIT.values()):
            words += ["the engine does not answer yet"] if self.models is None else []
            words += [f"the engine does not list {name}" for name in self.missing_models]
        if not words and GATEWAY_UNIT in names and self.certificate_days is None:
            words.append("the gateway does not answer yet")
        return "; ".join(words)

    @property
    def serves(self) -> bool:
        """Whether engine and gateway are installed and work, with a certificate that has not ended."""
        days = self.certificate_days  # 0 for a certificate in its last day
        return not self.missing and self.models is not None and days is not None and days >= 0


def status(target: Target, *, names: Sequence[str], at_once: int, as_json: bool) -> int:
    """Print how the hosts are, on stdout; return 0 only when all of them serve."""
    outputs = load(target)
    hosts = choose(outputs, names)
    found: dict[str, HostStatus] = {}
    for host, result in on_each(hosts, lambda host: look(outputs, host), at_once=at_once):
        failed = isinstance(result, DeployError)
        found[host.name] = (
            HostStatus(host=host.name, address=host.address, error=str(result)) if failed else result  # type: ignore[assignment]
        )
    seen = [found[host.name] for host in hosts]
    entries = [{**asdict(each), "serves": each.serves} for each in seen]
    ok = all(each.serves for each in seen)
    write_result(outputs.stack, "status.json", {"stack": outputs.stack, "ok": ok, "hosts": entries})
    if as_json:
        print(json.dumps(entries, indent=2))
    else:
        print("\n\n".join(screen(each) for each in seen), flush=True)
    if ok:
        next_command(target.smoke_command(outputs.stack), target.command("logs"))
        return 0
    next_command(target.command("provision"), target.command("logs"))
    return 1


def look(outputs: StackOutputs, host: HostRecord) -> HostStatus:
    """Return how `host` is. Raises HostError when it cannot be asked."""
    with connect(host) as connection:
        return ask(connection, outputs, host)


def ask(connection: "fabric.Connection", outputs: StackOutputs, host: HostRecord) -> HostStatus:
    """Return how `host` is, over a connection that is open. Raises HostError when it does not answer."""
    question = {
        "units": [ENGINE_UNIT[outputs.serving.engine], GATEWAY_UNIT, FIREWALL_UNIT],
        "engine_port": outputs.serving.port,
        "engine_env": ENGINE_ENV,
        "gateway_port": outputs.gateway.port,
        "data_dir": host.data_dir,
    }
    report = json.loads(run_program(connection, host, "report", json.dumps(question)))
    return read_report(report, outputs, host, now=datetime.now(UTC))


def read_report(report: dict[str, Any], outputs: StackOutputs, host: HostRecord, *, now: datetime) -> HostStatus:
    """Return what the program `report` printed as a status."""
    models = report["models"]
    wanted = outputs.serving.served_names
    disks = {each["device"]: each for each in reversed(report["disks"])}  # one disk may hold both places
    memory = {"path": "memory", **report["memory"]}
    return HostStatus(
        host=host.name,
        address=host.address,
        boot_id=report["boot_id"],
        units=tuple(_unit(unit) for unit in report["units"]),
        models=None if models is None else tuple(models),
        missing_models=tuple(name for name in wanted if name not in models) if models is not None else (),
        certificate_days=_days_left(report["certificate"], now),
        space=tuple(_space(each) for each in (*reversed(disks.values()), memory)),
        reboot_pending=report["reboot_pending"],
        last_errors=tuple(report["errors"]),
    )


def screen(status: HostStatus) -> str:
    """Return one host's status for a person; what needs attention is marked with `!`."""
    if status.error:
        return f"✗ {status.error}"
    lines = [f"{'✓' if status.serves else '✗'} {status.host} ({status.address})"]
    for unit in status.units:
        lines.append(_line(unit.name.removesuffix(".service"), f"{unit.words} since {unit.since}", bad=not unit.active))
    if status.models is None:
        lines.append(_line("models", "the engine does not answer", bad=True))
    else:
        missing = f"; missing: {', '.join(status.missing_models)}" if status.missing_models else ""
        lines.append(_line("models", ", ".join(status.models) + missing, bad=bool(missing)))
    days = status.certificate_days
    words = "none: the gateway does not answer" if days is None else f"{days} days left"
    lines.append(_line("certificate", words, bad=days is None or days < CERTIFICATE_SOON_DAYS))
    for each in status.space:
        words = f"{each.free_gib:.1f} of {each.total_gib:.1f} GiB free"
        lines.append(_line(each.name, words, bad=each.free_gib < LITTLE * each.total_gib))
    if status.reboot_pending:
        lines.append(_line("reboot", "pending, for updates", bad=True))
    lines += [_line("error", text, bad=True) for text in status.last_errors]
    return "\n".join(lines)


def _line(label: str, words: str, *, bad: bool) -> str:
    """Return one line of a screen."""
    return f"{'!' if bad else ' '} {label:<18} {words}"


def _space(seen: dict[str, Any]) -> Space:
    """Return a disk or the memory as the report has it, in bytes."""
    return Space(name=seen["path"], free_gib=seen["free_bytes"] / GIB, total_gib=seen["total_bytes"] / GIB)


def _unit(seen: dict[str, str]) -> UnitState:
    """Return a unit as systemctl shows it."""
    words = f"{seen['ActiveState']} ({seen['SubState']})"
    restarts = int(seen.get("NRestarts") or 0)
    if restarts:
        words += f", came back by itself {restarts} times"
    return UnitState(
        name=seen["Id"],
        active=seen["ActiveState"] == "active",
        words=words,
        since=seen.get("StateChangeTimestamp", ""),
        restarts=restarts,
        invocation=seen.get("InvocationID", ""),
    )


def _days_left(certificate: str | None, now: datetime) -> int | None:
    """Return for how many whole days a certificate (base64 of DER) is still valid; negative when it has ended."""
    if not certificate:
        return None
    from cryptography import x509  # 0.1 s

    return (x509.load_der_x509_certificate(base64.b64decode(certificate)).not_valid_after_utc - now).days
