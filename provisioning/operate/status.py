"""The status of the hosts: one screen per host, or JSON. Changes nothing."""

import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from catalog.clouds import MADE, ON_THIS_COMPUTER, RENTED
from core.console import next_command, show
from core.errors import DeployError, HostError
from core.ports import DOOR_PORT, OVERFLOW_METRICS_PORT
from core.runs import write_result
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.hosts.inventory import choose, load_to_look, mention_changed_file
from provisioning.hosts.parallel import on_each
from provisioning.hosts.target import Target
from provisioning.hosts.topology import HostRole, Topology
from provisioning.operate.expected_hours import by_the_hours
from provisioning.operate.host_report import read_report
from provisioning.operate.host_status import HostStatus, unseen, with_reasons
from provisioning.operate.status_screen import screen
from provisioning.roles.gateway.pools import engines_behind
from provisioning.roles.host.layout import (
    ENGINE_ENV,
    ENGINE_UNIT,
    FIREWALL_RULES,
    FIREWALL_TABLE,
    GUARD_RULES,
    GUARD_TABLE,
    HAPROXY_ADMIN_SOCKET,
    NFT_RULES,
    RELEASE_NOTES,
    units_with_status,
)
from provisioning.ssh.connection import NoAnswerError, connect
from provisioning.ssh.remote import ask_program
from provisioning.ssh.target import SshTarget

if TYPE_CHECKING:
    import fabric


def status(target: Target, *, names: Sequence[str], at_once: int, as_json: bool) -> int:
    """Print the status of the hosts on stdout; return 0 only if all of them serve."""
    outputs = load_to_look(target)
    mention_changed_file(target)
    hosts = choose(outputs, names)
    found: dict[str, HostStatus] = {}
    silent: set[str] = set()
    for host, result in on_each(hosts, lambda host: look(outputs, host), at_once=at_once):
        if isinstance(result, DeployError):
            if isinstance(result, NoAnswerError):
                silent.add(host.name)
            found[host.name] = _unreached(target, outputs, host, result)
        else:
            found[host.name] = result
    seen = with_reasons([found[host.name] for host in hosts])
    entries = [each.as_json() for each in seen]
    ok = all(each.serves for each in seen)
    write_result(outputs.stack, "status.json", {"stack": outputs.stack, "ok": ok, "hosts": entries})
    if as_json:
        print(json.dumps(entries, indent=2))
    else:
        show("\n\n".join(screen(each) for each in seen))
    if ok:
        next_command(target.command("smoke"), target.command("logs"))
        return 0
    next_command(*_next_steps(target, outputs, [(host, found[host.name]) for host in hosts], silent))
    return 1


def _next_steps(
    target: Target, outputs: StackOutputs, seen: Sequence[tuple[HostRecord, HostStatus]], silent: Collection[str]
) -> list[str]:
    """Return the commands that help if not all hosts serve; `silent` has the hosts whose address does not answer.

    `provision` is not among them for a host that cannot be reached or has an unknown host key: the line of that host
    says what helps. An engine that starts or stops only needs time.
    """
    bad = [(host, status) for host, status in seen if not status.serves]
    if any(_is_off(outputs, host) for host, status in bad if status.error):
        return [target.command("up")]
    reached = [status for _, status in bad if not status.error]
    if not reached:
        rented = any(host.cloud in RENTED and host.name in silent for host, _ in bad)
        return [target.command("refresh")] if target.stack and rented else [target.command("status")]
    if all(status.engine_passing for status in reached):
        return [target.command("status"), target.command("logs")]
    return [target.command("provision"), target.command("logs")]


def _unreached(target: Target, outputs: StackOutputs, host: HostRecord, error: DeployError) -> HostStatus:
    """Return the status of a host that could not be queried; if it is off, with the command that starts it."""
    off = _is_off(outputs, host)
    words = f"{host.name} is off; `{target.command('up')}` starts it with its disk" if off else str(error)
    now = datetime.now(UTC)
    if target.stack and host.cloud in RENTED and (host.ends_at is None or now < host.ends_at):
        hours = by_the_hours(target.stack, now)
        if hours:
            words += f" ({hours})"
        elif isinstance(error, NoAnswerError):
            words += f"; was it stopped or terminated? `{target.command('refresh')}` asks the cloud"
    return unseen(host, words, now=now)


def _is_off(outputs: StackOutputs, host: HostRecord) -> bool:
    """Return whether a host is a local machine that is switched off."""
    if host.cloud not in ON_THIS_COMPUTER:
        return False
    from infra.clouds.registry import cloud_of

    return cloud_of(host.cloud).is_off(outputs.stack, host.name)


def look(outputs: StackOutputs, host: HostRecord) -> HostStatus:
    """Return all that `status` shows of `host`. Raises HostError if it cannot be queried."""
    with connect(SshTarget.of(host)) as connection:
        return ask(connection, outputs, host, whole=True)


def ask(connection: "fabric.Connection", outputs: StackOutputs, host: HostRecord, *, whole: bool = False) -> HostStatus:
    """Return the status of `host` over an open connection. Raises HostError if it does not answer.

    `whole`: also find other firewalls that close the gateway's port, and ask how providers do and which alerts fire.
    Callers that poll a starting host do not need that.
    """
    serving, roles = outputs.serving_of(host), Topology(outputs).roles_of(host)
    engine_unit = ENGINE_UNIT[serving.engine]
    port = DOOR_PORT if HostRole.DOOR in roles else outputs.gateway.port
    question = {
        "units": units_with_status(
            serving.engine,
            monitoring=outputs.gateway.monitoring is not None,
            alerts=outputs.gateway.alerts is not None,
            grafana=outputs.gateway.grafana is not None,
        ),
        "engine": serving.engine,
        "engine_unit": engine_unit,
        "engine_port": serving.port,
        "engine_env": ENGINE_ENV,
        "release_note": f"{RELEASE_NOTES}/{engine_unit}.json",
        "gateway_port": port,
        "gateway_socket": HAPROXY_ADMIN_SOCKET,
        "gateway_servers": [f"{engine.pool}/{engine.name}" for engine in engines_behind(outputs, host)],
        "data_dir": host.data_dir,
        "nft_rules": NFT_RULES,
        "tables": [[FIREWALL_RULES, FIREWALL_TABLE], [GUARD_RULES, GUARD_TABLE]],
    }
    report = ask_program(connection, SshTarget.of(host), "host/status_report", json.dumps(question))
    if whole and outputs.gateway.monitoring is not None and HostRole.GATEWAY in roles:
        report |= _also(connection, host, report["unseen"], "monitoring/firing_alerts")
    if whole and host.cloud not in MADE and roles & {HostRole.GATEWAY, HostRole.DOOR}:
        report |= _also(connection, host, report["unseen"], "firewall/other_firewalls", str(port))
    overflow = outputs.gateway.overflow
    if whole and overflow is not None and HostRole.GATEWAY in roles:
        words = (str(OVERFLOW_METRICS_PORT), *overflow.host_names)
        report |= _also(connection, host, report["unseen"], "gateway/provider_report", *words)
    if host.gpu is not None and HostRole.ENGINE in roles:
        report |= _also(connection, host, report["unseen"], "nvidia/nvlink_fabric")
    return read_report(report, outputs, host, now=datetime.now(UTC))


def _also(
    connection: "fabric.Connection", host: HostRecord, unseen: dict[str, str], name: str, *words: str
) -> dict[str, Any]:
    """Return the answer of one more program. If it fails, return nothing, and put the reason into `unseen`."""
    try:
        answer: dict[str, Any] = ask_program(connection, SshTarget.of(host), name, *words)
    except HostError as error:
        unseen[name.rpartition("/")[2]] = error.what
        return {}
    return answer
