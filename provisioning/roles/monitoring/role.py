"""Prometheus, Alertmanager and exporters, from the distribution's packages, on loopback only."""

from collections.abc import Iterator, Sequence

from core.ports import ALERTMANAGER_PORT, NODE_EXPORTER_PORT, PROMETHEUS_PORT
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.converge.resources import Command, Directory, File, Packages, Resource, Unit
from provisioning.hosts.topology import HostRole, Topology
from provisioning.roles.gateway.pools import engines_behind
from provisioning.roles.host.layout import (
    ALERTMANAGER_UNIT,
    GRAFANA_UNIT,
    LIB_DIR,
    MONITORING_UNITS,
    NODE_EXPORTER_UNIT,
    PROMETHEUS_UNIT,
)
from provisioning.roles.monitoring.alerts import gpu_share, rules_file
from provisioning.roles.monitoring.configs import alertmanager_config, prometheus_config
from provisioning.roles.monitoring.daemons import Daemon, drop_in_path, left_behind, not_for_others
from provisioning.roles.monitoring.exporters import (
    HOST_METRICS_DIR,
    HOST_METRICS_SETTINGS,
    MONITORING_DIR,
    host_metrics,
    line_metrics,
    units_with_lines,
    without_line_metrics,
)
from provisioning.roles.monitoring.grafana import GRAFANA_DIR, PACKAGE_DIR, grafana
from provisioning.roles.monitoring.targets import targets
from serving.spec.monitoring_fields import GrafanaSpec, MonitoringSpec

PROMETHEUS_CONFIG = f"{MONITORING_DIR}/prometheus.yml"
RULES = f"{MONITORING_DIR}/rules.yml"
ALERTMANAGER_CONFIG = f"{MONITORING_DIR}/alertmanager.yml"

PACKAGED_UNITS = (PROMETHEUS_UNIT, ALERTMANAGER_UNIT, NODE_EXPORTER_UNIT, GRAFANA_UNIT)
"""Units of packages, which somebody else may use too."""

PROMETHEUS_MIB, ALERTMANAGER_MIB, NODE_EXPORTER_MIB = 384, 96, 96
"""Memory limits. Measured on 2026-11-30 on a machine with vLLM (2,900 series), most in the first 3 minutes: 60, 35 and
21 MiB."""

PROMETHEUS_MIB_PER_HOST = 48
"""More for each further host whose metrics Prometheus reads: 12 KiB for each of its series."""

PROMETHEUS_DATA = "/var/lib/prometheus/llm-deploy"
"""Not the package's own folder, which may hold what another Prometheus measured here."""

ALERTMANAGER_DATA = "/var/lib/prometheus/alertmanager"


def monitoring(outputs: StackOutputs, host: HostRecord) -> list[Resource]:
    """Return the resources of the monitoring on `host`, in working order.

    A host behind a gateway's has the exporters alone. Without `gateway.monitoring`: what removes it. Raises ConfigError
    if a secret of `gateway.alerts` or Grafana is missing, or Grafana's package is not on this computer.
    """
    gateway = outputs.gateway
    if gateway.monitoring is None:
        return [_removed()]
    has_prometheus = Topology(outputs).has(host, HostRole.GATEWAY)
    has_grafana = gateway.grafana if has_prometheus else None
    daemons = [_node_exporter(), *(_servers(outputs, host, gateway.monitoring) if has_prometheus else ())]
    lines = units_with_lines(outputs, host)
    packages = Packages(
        name="monitoring",
        present=(*(daemon.package for daemon in daemons), *(["mtail"] if lines else ())),
        after=tuple(daemon.drop_in.id for daemon in daemons),
    )
    units = [*(daemon.unit for daemon in daemons), *(["mtail.service"] if lines else ())]
    others = not_for_others("no-other-monitoring", units, ours=MONITORING_DIR, key="gateway.monitoring")
    return [
        others,
        Directory(path=MONITORING_DIR, after=(others.id,)),
        # Before the packages, so that a first start uses these settings or fails.
        *(daemon.drop_in for daemon in daemons),
        packages,
        Directory(path=HOST_METRICS_DIR),
        Directory(path=LIB_DIR),
        *(_prometheus_files(outputs, host, gateway.monitoring, packages) if has_prometheus else ()),
        *(line_metrics(lines, packages) if lines else ()),
        *host_metrics(outputs, host),
        *(_unit(daemon) for daemon in daemons),
        *_left(daemons, has_grafana),
        *(() if lines else without_line_metrics()),
        # Last: the package may be far away, and nothing waits for it.
        *(grafana(has_grafana) if has_grafana is not None else ()),
    ]


def _left(daemons: Sequence[Daemon], grafana: GrafanaSpec | None) -> Iterator[Command]:
    """Yield what removes programs that this host had under an earlier stack file, with the secrets in their files."""
    here = {daemon.unit for daemon in daemons}
    for unit, config in ((PROMETHEUS_UNIT, PROMETHEUS_CONFIG), (ALERTMANAGER_UNIT, ALERTMANAGER_CONFIG)):
        if unit not in here:
            yield left_behind(unit, config)
    if grafana is None:
        yield left_behind(GRAFANA_UNIT, GRAFANA_DIR, PACKAGE_DIR)


def _removed() -> Command:
    """Return the command that stops all of it, with its files removed. The measured data and the packages remain."""
    ours = [unit for unit in MONITORING_UNITS if unit not in PACKAGED_UNITS]
    stop = f"systemctl disable --now {' '.join(ours)} 2>/dev/null; "
    stop += f'for unit; do file="{drop_in_path("$unit")}"; '
    stop += '[ ! -e "$file" ] || { systemctl disable --now "$unit"; rm -f "$file"; }; done; '
    remove = f"rm -rf {MONITORING_DIR} {HOST_METRICS_DIR} {PACKAGE_DIR} && systemctl daemon-reload"
    return Command(
        name="no-monitoring",
        argv=("sh", "-c", stop + remove, "no-monitoring", *PACKAGED_UNITS),
        check=("sh", "-c", f"! [ -e {MONITORING_DIR} ]"),
    )


def _node_exporter() -> Daemon:
    """Return the exporter of the host itself."""
    return Daemon(
        unit=NODE_EXPORTER_UNIT,
        package="prometheus-node-exporter",
        config=HOST_METRICS_SETTINGS,
        environment=_arguments(
            f"--web.listen-address=127.0.0.1:{NODE_EXPORTER_PORT}",
            f"--collector.textfile.directory={HOST_METRICS_DIR}",
        ),
        memory_mib=NODE_EXPORTER_MIB,
    )


def _servers(outputs: StackOutputs, host: HostRecord, monitoring: MonitoringSpec) -> Iterator[Daemon]:
    """Yield the distribution's programs that only a gateway's host has."""
    alerts = outputs.gateway.alerts
    further = len(engines_behind(outputs, host)) - 1
    yield Daemon(
        unit=PROMETHEUS_UNIT,
        package="prometheus",
        config=PROMETHEUS_CONFIG,
        environment=_arguments(
            f"--config.file={PROMETHEUS_CONFIG}",
            f"--storage.tsdb.path={PROMETHEUS_DATA}",
            f"--storage.tsdb.retention.time={monitoring.retention_days}d",
            f"--storage.tsdb.retention.size={monitoring.disk_gib}GB",  # Prometheus means GiB
            f"--web.listen-address=127.0.0.1:{PROMETHEUS_PORT}",
            "--query.timeout=30s",
            "--query.max-samples=5000000",
        ),
        memory_mib=PROMETHEUS_MIB + further * PROMETHEUS_MIB_PER_HOST,
        writes=("/var/lib/prometheus",),
    )
    if alerts is not None:
        yield Daemon(
            unit=ALERTMANAGER_UNIT,
            package="prometheus-alertmanager",
            config=ALERTMANAGER_CONFIG,
            environment=_arguments(
                f"--config.file=/run/credentials/{ALERTMANAGER_UNIT}/alertmanager.yml",
                f"--storage.path={ALERTMANAGER_DATA}",
                f"--web.listen-address=127.0.0.1:{ALERTMANAGER_PORT}",
                "--cluster.listen-address=",  # one Alertmanager alone
            ),
            memory_mib=ALERTMANAGER_MIB,
            writes=("/var/lib/prometheus",),
            credentials=(f"alertmanager.yml:{ALERTMANAGER_CONFIG}",),
            loopback_only=False,
        )


def _arguments(*words: str) -> tuple[str]:
    """Return the variable from which Debian's units take the arguments of their programs."""
    return (f"ARGS={' '.join(words)}",)


def _unit(daemon: Daemon) -> Unit:
    """Return the unit of a daemon; Prometheus takes new files without a restart."""
    if daemon.unit == PROMETHEUS_UNIT:
        files = (f"file:{PROMETHEUS_CONFIG}", f"file:{RULES}")
        restart = (daemon.drop_in.id,)
        return Unit(name=daemon.unit, restart_on=restart, reload_on=files, after=(*restart, *files))
    needed = (daemon.drop_in.id, f"file:{daemon.config}")
    return Unit(name=daemon.unit, restart_on=needed, after=needed)


def _prometheus_files(
    outputs: StackOutputs, host: HostRecord, monitoring: MonitoringSpec, packages: Packages
) -> Iterator[File]:
    """Yield the files of Prometheus and Alertmanager."""
    pools = list(dict.fromkeys(engine.pool for engine in engines_behind(outputs, host)))
    rules = rules_file(max(outputs.servings, key=gpu_share), outputs.gateway, monitoring, pools)
    yield File(path=RULES, content=rules, check=("promtool", "check", "rules", "{path}"), after=(packages.id,))
    yield File(
        path=PROMETHEUS_CONFIG,
        content=prometheus_config(targets(outputs, host), RULES, alerts=outputs.gateway.alerts is not None),
        check=("promtool", "check", "config", "{path}"),
        after=(f"file:{RULES}",),
    )
    yield from _alertmanager_file(outputs, packages)


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
