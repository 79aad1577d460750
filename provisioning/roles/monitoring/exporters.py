"""The programs of this repository that make metrics: from lines of the journal with mtail, and from the host itself."""

import json

from core.ports import ACCESS_METRICS_PORT
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.converge.resources import File, Packages, Resource, Unit
from provisioning.hosts.topology import HostRole, Topology
from provisioning.programs import program
from provisioning.roles.gateway.gateway import LOG_FIELDS
from provisioning.roles.gateway.process import Places
from provisioning.roles.host.layout import (
    ACCESS_METRICS_UNIT,
    CONFIG_DIR,
    ENGINE_UNIT,
    GATEWAY_UNIT,
    HAPROXY_ADMIN_SOCKET,
    HOST_METRICS_UNIT,
    LIB_DIR,
    NOTICE_DIR,
)
from provisioning.templates.render import render

MONITORING_DIR = f"{CONFIG_DIR}/monitoring"
MTAIL_PROGRAM = f"{MONITORING_DIR}/access.mtail"
HOST_METRICS_SETTINGS = f"{MONITORING_DIR}/host-metrics.json"
HOST_METRICS_DIR = "/var/lib/llm-metrics"
"""The node exporter reads it. Its user may not enter /var/lib/llm-deploy."""

ACCESS_METRICS = f"{LIB_DIR}/access-metrics"
HOST_METRICS = f"{LIB_DIR}/host-metrics"

HOST_METRICS_SERVICE = HOST_METRICS_UNIT.replace(".timer", ".service")

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


def units_with_lines(outputs: StackOutputs, host: HostRecord) -> tuple[str, ...]:
    """Return the units of `host` whose lines become metrics: the gateway's, and vLLM's about tokens."""
    topology = Topology(outputs)
    gateway = (GATEWAY_UNIT,) if topology.has(host, HostRole.GATEWAY) else ()
    has_vllm = topology.has(host, HostRole.ENGINE) and outputs.serving_of(host).engine == "vllm"
    return (*gateway, ENGINE_UNIT["vllm"]) if has_vllm else gateway


def line_metrics(units: tuple[str, ...], packages: Packages) -> list[Resource]:
    """Return the resources that turn the lines of `units` into metrics."""
    feed = File(path=ACCESS_METRICS, content=program("monitoring/access_metrics"))
    mtail_program = File(path=MTAIL_PROGRAM, content=access_program(), check=MTAIL_CHECK, after=(packages.id,))
    words = {"program": ACCESS_METRICS, "mtail_program": MTAIL_PROGRAM, "port": ACCESS_METRICS_PORT, "units": units}
    unit = File(
        path=f"/etc/systemd/system/{ACCESS_METRICS_UNIT}",
        content=render("monitoring/llm-access-metrics.service.j2", **words),
    )
    needs = (feed.id, mtail_program.id, unit.id)
    return [
        feed,
        mtail_program,
        unit,
        Unit(name=ACCESS_METRICS_UNIT, restart_on=needs, after=needs),
        # Of the package only the program is used.
        Unit(name="mtail.service", enabled=False, running=False, after=(packages.id,)),
    ]


def without_line_metrics() -> list[Resource]:
    """Return what removes the program that reads the journal, on a host without lines for it."""
    stopped = Unit(name=ACCESS_METRICS_UNIT, enabled=False, running=False)
    return [stopped, File(path=f"/etc/systemd/system/{ACCESS_METRICS_UNIT}", content=None, after=(stopped.id,))]


def host_metrics(outputs: StackOutputs, host: HostRecord) -> list[Resource]:
    """Return the resources that measure the host once a minute."""
    measure = File(path=HOST_METRICS, content=program("monitoring/host_metrics"))
    settings = File(path=HOST_METRICS_SETTINGS, content=_host_metrics_settings(outputs, host))
    words = {"program": HOST_METRICS, "settings": HOST_METRICS_SETTINGS, "folder": HOST_METRICS_DIR}
    service, timer = (
        File(path=f"/etc/systemd/system/{name}", content=render(f"monitoring/{name}.j2", **words))
        for name in (HOST_METRICS_SERVICE, HOST_METRICS_UNIT)
    )
    needs = (measure.id, settings.id, service.id, timer.id)
    return [measure, settings, service, timer, Unit(name=HOST_METRICS_UNIT, restart_on=(timer.id,), after=needs)]


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


def _host_metrics_settings(outputs: StackOutputs, host: HostRecord) -> str:
    """Return the settings of the program that measures the host."""
    has_ollama = outputs.serving_of(host).engine == "ollama" and Topology(outputs).has(host, HostRole.ENGINE)
    values = {
        "folder": HOST_METRICS_DIR,
        "admin_socket": HAPROXY_ADMIN_SOCKET,
        "certificate": Places().certificate,
        "journal": "/var/log/journal",
        "notice": f"{NOTICE_DIR}/notice.json",
        "ollama_port": outputs.serving_of(host).port if has_ollama else 0,
    }
    return json.dumps(values, indent=2) + "\n"
