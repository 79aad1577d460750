"""Prometheus, Alertmanager and exporters on a gateway's host, from the distribution's packages, on loopback only.

Their configuration is in files of this role: a changed conffile of a package would hold back its security updates.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.ports import ACCESS_METRICS_PORT, ALERTMANAGER_PORT, NODE_EXPORTER_PORT, PROMETHEUS_PORT
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.converge.resources import Command, Directory, File, Packages, Resource, Unit
from provisioning.hosts.topology import HostRole, Topology
from provisioning.programs import program
from provisioning.roles.gateway.gateway import LOG_FIELDS
from provisioning.roles.gateway.pools import engines_behind
from provisioning.roles.gateway.process import Places
from provisioning.roles.host.layout import (
    ACCESS_METRICS_UNIT,
    ALERTMANAGER_UNIT,
    CONFIG_DIR,
    ENGINE_UNIT,
    GATEWAY_UNIT,
    HAPROXY_ADMIN_SOCKET,
    HOST_METRICS_UNIT,
    LIB_DIR,
    MONITORING_UNITS,
    NODE_EXPORTER_UNIT,
    PROMETHEUS_UNIT,
)
from provisioning.roles.monitoring.alerts import rules_file
from provisioning.roles.monitoring.configs import alertmanager_config, prometheus_config
from provisioning.roles.monitoring.targets import targets
from provisioning.templates.render import render
from serving.spec.monitoring_fields import MonitoringSpec

MONITORING_DIR = f"{CONFIG_DIR}/monitoring"
PROMETHEUS_CONFIG = f"{MONITORING_DIR}/prometheus.yml"
RULES = f"{MONITORING_DIR}/rules.yml"
ALERTMANAGER_CONFIG = f"{MONITORING_DIR}/alertmanager.yml"
MTAIL_PROGRAM = f"{MONITORING_DIR}/access.mtail"
HOST_METRICS_SETTINGS = f"{MONITORING_DIR}/host-metrics.json"
HOST_METRICS_DIR = "/var/lib/llm-metrics"
"""The node exporter reads it. Its user may not enter /var/lib/llm-deploy."""

ACCESS_METRICS = f"{LIB_DIR}/access-metrics"
HOST_METRICS = f"{LIB_DIR}/host-metrics"

HOST_METRICS_SERVICE = HOST_METRICS_UNIT.replace(".timer", ".service")

PROMETHEUS_MIB, ALERTMANAGER_MIB, NODE_EXPORTER_MIB = 384, 96, 96
"""Memory limits. Measured on 2026-11-30 on a machine with vLLM (2,900 series), most in the first 3 minutes: 60, 35 and
21 MiB."""

PROMETHEUS_DATA = "/var/lib/prometheus/metrics2"
ALERTMANAGER_DATA = "/var/lib/prometheus/alertmanager"

MTAIL_CHECK = (
    "sh",
    "-c",
    'folder=$(mktemp -d) && cp "$1" "$folder/access.mtail" && mtail --compile_only --logtostderr --address 127.0.0.1 '
    '--port 0 --progs "$folder"; status=$?; rm -r "$folder"; exit $status',
    "mtail",
    "{path}",
)
"""mtail compiles only files whose names end in .mtail."""

READ_FIELDS = ("class", "model", "adapter", "pool", "host", "decision", "reason", "status")
"""Fields of the access log that become labels."""

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600)
"""Upper bounds of the histograms of waits, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A program of the distribution that this role configures with a drop-in."""

    unit: str
    package: str
    config: str
    """Without this file it does not start."""
    arguments: tuple[str, ...]
    memory_mib: int
    writes: tuple[str, ...] = ()
    """Folders that it writes."""
    credential: str = ""
    """`NAME:PATH` of a file that only root may read."""
    loopback_only: bool = True
    """Whether it may connect to this host alone."""

    @property
    def drop_in(self) -> File:
        """Its file."""
        text = render("monitoring/drop-in.conf.j2", **vars(self))
        return File(path=f"/etc/systemd/system/{self.unit}.d/50-llm-deploy.conf", content=text)


def monitoring(outputs: StackOutputs, host: HostRecord) -> list[Resource]:
    """Return the resources of the monitoring on `host`, which has a gateway, in working order.

    Without `gateway.monitoring`: what removes it. Raises ConfigError if a secret of `gateway.alerts` is missing.
    """
    gateway = outputs.gateway
    if gateway.monitoring is None:
        return [_removed()]
    read = targets(outputs, host)
    pools = list(dict.fromkeys(engine.pool for engine in engines_behind(outputs, host)))
    rules = rules_file(outputs.serving, gateway, gateway.monitoring, pools)
    daemons = list(_daemons(outputs, gateway.monitoring))
    packages = Packages(
        name="monitoring",
        present=(*(daemon.package for daemon in daemons), "mtail"),
        after=tuple(daemon.drop_in.id for daemon in daemons),
    )
    return [
        # Before the packages, so that a first start uses these settings or fails.
        *(daemon.drop_in for daemon in daemons),
        packages,
        Directory(path=MONITORING_DIR),
        Directory(path=HOST_METRICS_DIR),
        Directory(path=LIB_DIR),
        File(path=RULES, content=rules, check=("promtool", "check", "rules", "{path}"), after=(packages.id,)),
        File(
            path=PROMETHEUS_CONFIG,
            content=prometheus_config(read, RULES, alerts=gateway.alerts is not None),
            check=("promtool", "check", "config", "{path}"),
            after=(f"file:{RULES}",),
        ),
        *_alertmanager_file(outputs, packages),
        *_exporters(outputs, host, packages),
        *(_unit(daemon) for daemon in daemons),
        # Of the package mtail only the program is used.
        Unit(name="mtail.service", enabled=False, running=False, after=(packages.id,)),
    ]


def _removed() -> Command:
    """Return the command that stops all of it, with its files removed. The measured data and the packages remain."""
    stop = 'systemctl disable --now "$@" 2>/dev/null; for unit; do rm -rf "/etc/systemd/system/$unit.d"; done; '
    remove = f"rm -rf {MONITORING_DIR} {HOST_METRICS_DIR} && systemctl daemon-reload"
    return Command(
        name="no-monitoring",
        argv=("sh", "-c", stop + remove, "no-monitoring", *MONITORING_UNITS),
        check=("sh", "-c", f"! [ -e {MONITORING_DIR} ]"),
    )


def _daemons(outputs: StackOutputs, monitoring: MonitoringSpec) -> Iterator[Daemon]:
    """Yield the distribution's programs that this stack needs."""
    alerts = outputs.gateway.alerts
    yield Daemon(
        unit=NODE_EXPORTER_UNIT,
        package="prometheus-node-exporter",
        config=HOST_METRICS_SETTINGS,
        arguments=(
            f"--web.listen-address=127.0.0.1:{NODE_EXPORTER_PORT}",
            f"--collector.textfile.directory={HOST_METRICS_DIR}",
        ),
        memory_mib=NODE_EXPORTER_MIB,
    )
    yield Daemon(
        unit=PROMETHEUS_UNIT,
        package="prometheus",
        config=PROMETHEUS_CONFIG,
        arguments=(
            f"--config.file={PROMETHEUS_CONFIG}",
            f"--storage.tsdb.path={PROMETHEUS_DATA}",
            f"--storage.tsdb.retention.time={monitoring.retention_days}d",
            f"--storage.tsdb.retention.size={monitoring.disk_gib}GB",  # Prometheus means GiB
            f"--web.listen-address=127.0.0.1:{PROMETHEUS_PORT}",
            "--query.timeout=30s",
            "--query.max-samples=5000000",
        ),
        memory_mib=PROMETHEUS_MIB,
        writes=("/var/lib/prometheus",),
    )
    if alerts is not None:
        yield Daemon(
            unit=ALERTMANAGER_UNIT,
            package="prometheus-alertmanager",
            config=ALERTMANAGER_CONFIG,
            arguments=(
                f"--config.file=/run/credentials/{ALERTMANAGER_UNIT}/alertmanager.yml",
                f"--storage.path={ALERTMANAGER_DATA}",
                f"--web.listen-address=127.0.0.1:{ALERTMANAGER_PORT}",
                "--cluster.listen-address=",  # one Alertmanager alone
            ),
            memory_mib=ALERTMANAGER_MIB,
            writes=("/var/lib/prometheus",),
            credential=f"alertmanager.yml:{ALERTMANAGER_CONFIG}",
            loopback_only=False,
        )


def _unit(daemon: Daemon) -> Unit:
    """Return the unit of a daemon; Prometheus takes new files without a restart."""
    if daemon.unit == PROMETHEUS_UNIT:
        files = (f"file:{PROMETHEUS_CONFIG}", f"file:{RULES}")
        restart = (daemon.drop_in.id,)
        return Unit(name=daemon.unit, restart_on=restart, reload_on=files, after=(*restart, *files))
    needed = (daemon.drop_in.id, f"file:{daemon.config}")
    return Unit(name=daemon.unit, restart_on=needed, after=needed)


def _alertmanager_file(outputs: StackOutputs, packages: Packages) -> Iterator[File]:
    alerts = outputs.gateway.alerts
    if alerts is not None:
        yield File(
            path=ALERTMANAGER_CONFIG,
            content=alertmanager_config(alerts, outputs.stack),
            mode=0o600,
            check=("amtool", "check-config", "{path}"),
            after=(packages.id,),
        )


def _exporters(outputs: StackOutputs, host: HostRecord, packages: Packages) -> list[Resource]:
    """Return the programs of this repository that make metrics: from the access log, and from the host."""
    access = File(path=ACCESS_METRICS, content=program("monitoring/access_metrics"))
    mtail_program = File(
        path=MTAIL_PROGRAM,
        content=access_program(),
        check=MTAIL_CHECK,
        after=(packages.id,),
    )
    units = _units_with_lines(outputs, host)
    access_unit = File(
        path=f"/etc/systemd/system/{ACCESS_METRICS_UNIT}",
        content=render(
            "monitoring/llm-access-metrics.service.j2",
            program=ACCESS_METRICS,
            mtail_program=MTAIL_PROGRAM,
            port=ACCESS_METRICS_PORT,
            units=units,
        ),
    )
    access_needs = (access.id, mtail_program.id, access_unit.id)
    measure = File(path=HOST_METRICS, content=program("monitoring/host_metrics"))
    settings = File(path=HOST_METRICS_SETTINGS, content=_host_metrics_settings(outputs, host))
    words = {"program": HOST_METRICS, "settings": HOST_METRICS_SETTINGS, "folder": HOST_METRICS_DIR}
    service, timer = (
        File(path=f"/etc/systemd/system/{name}", content=render(f"monitoring/{name}.j2", **words))
        for name in (HOST_METRICS_SERVICE, HOST_METRICS_UNIT)
    )
    timer_needs = (measure.id, settings.id, service.id, timer.id)
    return [
        access,
        mtail_program,
        access_unit,
        Unit(name=ACCESS_METRICS_UNIT, restart_on=access_needs, after=access_needs),
        measure,
        settings,
        service,
        timer,
        Unit(name=HOST_METRICS_UNIT, restart_on=(timer.id,), after=timer_needs),
    ]


def access_program() -> str:
    """Return mtail's program for the access log that the gateway writes."""
    # In the order of the log; other fields may stand between them.
    fields = ".*".join(_pattern(name) for name in LOG_FIELDS if name in READ_FIELDS)
    buckets = ", ".join(f"{bound:g}" for bound in BUCKETS_S)
    return render("monitoring/access.mtail.j2", fields=fields, buckets=buckets)


def _pattern(field: str) -> str:
    """Return what matches a field of the log. The label `host` is for the host that wrote the log."""
    if field == "status":
        return r'"status":(?P<status>\d+)'
    label = "server" if field == "host" else field
    return f'"{field}":"(?P<{label}>[^"]*)"'


def _units_with_lines(outputs: StackOutputs, host: HostRecord) -> Sequence[str]:
    """Return the units of `host` whose lines become metrics."""
    if HostRole.ENGINE in Topology(outputs).roles_of(host) and outputs.serving.engine == "vllm":
        return (GATEWAY_UNIT, ENGINE_UNIT["vllm"])
    return (GATEWAY_UNIT,)


def _host_metrics_settings(outputs: StackOutputs, host: HostRecord) -> str:
    """Return the settings of the program that measures the host."""
    has_ollama = outputs.serving.engine == "ollama" and HostRole.ENGINE in Topology(outputs).roles_of(host)
    values = {
        "folder": HOST_METRICS_DIR,
        "admin_socket": HAPROXY_ADMIN_SOCKET,
        "certificate": Places().certificate,
        "journal": "/var/log/journal",
        "notice": "/run/llm-notice/notice.json",
        "ollama_port": outputs.serving.port if has_ollama else 0,
    }
    return json.dumps(values, indent=2) + "\n"
