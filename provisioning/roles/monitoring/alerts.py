"""The alerts of a stack, as Prometheus rules. Knows metrics and thresholds; sends nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from provisioning.roles.gateway.gateway import NO_HOST
from serving.spec.models import GatewaySpec, ServingSpec
from serving.spec.monitoring_fields import MonitoringSpec

CERTIFICATE_DAYS = 14
"""`provision` renews a certificate in the last third of its life: 30 days before the end of 90."""

GPU_MEMORY_SPARE = 0.05
"""Share of a GPU's memory beyond vLLM's own share that other programs may use."""

TEXTFILE_S = 300
"""Age of a host's own metrics from which they count as silent. A timer writes them once a minute."""

PATIENCE = "15m"
"""How long a host may drain, or wait for its first provision to succeed: engines fetch and load models meanwhile."""

JOIN = "host"
"""The label of every series that names the host that it is about."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert."""

    name: str
    expr: str
    """In PromQL. It has a result for each thing that is wrong."""
    for_s: int
    """Seconds for which it must be wrong."""
    severity: Literal["critical", "warning"]
    summary: str
    """One line. `{{ $labels.x }}` and `{{ $value }}` are Prometheus's templates."""
    do: str
    """What to look at first."""

    def rule(self) -> dict[str, Any]:
        """Return the rule as Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": f"{self.for_s}s",
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "do": self.do},
        }


def rules_file(
    serving: ServingSpec,
    gateway: GatewaySpec,
    monitoring: MonitoringSpec,
    pools: Sequence[str],
) -> str:
    """Return the file of rules for a gateway with backends `pools`, as YAML."""
    found = alerts(serving, gateway, monitoring, pools)
    groups = [{"name": "llm-deploy", "rules": [alert.rule() for alert in found]}]
    return "# Written by llm-deploy (monitoring role); edits are lost.\n" + yaml.safe_dump(
        {"groups": groups}, sort_keys=False, width=1000
    )


def alerts(serving: ServingSpec, gateway: GatewaySpec, monitoring: MonitoringSpec, pools: Sequence[str]) -> list[Alert]:
    """Return the alerts of a gateway with backends `pools`."""
    proxies = "|".join(pools)
    return [
        *_gateway_alerts(gateway, monitoring, proxies),
        *_host_alerts(serving, gateway, monitoring),
        *_watching_alerts(proxies),
    ]


def deadlines(gateway: GatewaySpec) -> Mapping[str, float]:
    """Return the longest wait of each class of requests, by a matcher of the class."""
    deadlines_s = gateway.deadlines_s
    # The class `-` of a request that was refused early counts as interactive.
    return {'class!="batch"': deadlines_s["interactive"], 'class="batch"': deadlines_s["batch"]}


def _gateway_alerts(gateway: GatewaySpec, monitoring: MonitoringSpec, proxies: str) -> Iterator[Alert]:
    yield Alert(
        name="GatewayDown",
        expr='up{job="haproxy"} == 0',
        for_s=60,
        severity="critical",
        summary="The gateway on {{ $labels.host }} does not answer.",
        do="Run `make status`, then `make logs`.",
    )
    yield Alert(
        name="NoReadyEngine",
        expr=f'sum by (host, proxy) (haproxy_backend_active_servers{{proxy=~"{proxies}"}}) == 0',
        for_s=60,
        severity="critical",
        summary="No engine of pool {{ $labels.proxy }} takes requests.",
        do="Run `make status`: it shows which engine starts, drains or failed.",
    )
    yield _engine_out(proxies)
    yield _wait_long(gateway)
    yield Alert(
        name="FirstTokenSlow",
        expr="histogram_quantile(0.95, sum by (class, model, le) (rate("
        f'llm_first_token_seconds_bucket{{class!="batch"}}[5m]))) > {monitoring.first_token_p95_s:g}',
        for_s=300,
        severity="warning",
        summary="The first token of {{ $labels.model }} takes {{ $value | humanizeDuration }} (p95).",
        do="`make top` shows whether requests wait in the queue or in the engine.",
    )
    yield Alert(
        name="ErrorShareHigh",
        expr='sum(rate(llm_requests_total{status=~"5.."}[5m])) / sum(rate(llm_requests_total[5m])) > '
        f"{monitoring.error_share:g}",
        for_s=120,
        severity="critical",
        summary="{{ $value | humanizePercentage }} of the answers are errors of the server.",
        do="`make logs` shows the engine's last errors.",
    )
    yield Alert(
        name="OverflowSpendHigh",
        # The service knows from which share of a cap it shall be reported: 0.8, unless the stack file says otherwise.
        expr="llm_overflow_spent_ratio >= on (host) group_left () llm_overflow_alert_ratio",
        for_s=0,
        severity="warning",
        summary="Overflow to {{ $labels.provider }} used {{ $value | humanizePercentage }} of the cap of "
        "the {{ $labels.period }}.",
        do="`make spend` shows who spent it. At the cap, requests wait or are refused.",
    )
    yield _provider_fails()


def _provider_fails() -> Alert:
    failed, every = (
        f'sum by (host, provider) (increase(llm_overflow_requests_total{{outcome=~"{outcomes}"}}[10m]))'
        for outcomes in ("failed|cut", "served|failed|cut")
    )
    return Alert(
        name="OverflowProviderFails",
        expr=f"{failed} / {every} > 0.5 and {failed} > 2",
        for_s=60,
        severity="warning",
        summary="{{ $value | humanizePercentage }} of the tries at provider {{ $labels.provider }} failed.",
        do="`make status` shows the causes. `connection` is a wrong url or no way out, `status 401` a wrong key.",
    )


def _servers(proxies: str, state: str, *, within: str = "", offset: str = "") -> str:
    """Return 1 for each engine's host that the gateway has in `state`, else 0.

    `within`: at some time in this span. `offset`: so long ago.
    """
    series = f'haproxy_server_status{{proxy=~"{proxies}",server!="{NO_HOST.name}",state=~"{state}"}}{offset}'
    seen = f"max_over_time({series}[{within}])" if within else series
    # In HAProxy's metrics `host` is the gateway's; these are about the host behind it.
    return f'max by (host, proxy) (label_replace({seen}, "host", "$1", "server", "(.+)"))'


def _engine_out(proxies: str) -> Alert:
    up, waits = _servers(proxies, "UP"), _servers(proxies, "DRAIN|MAINT")
    left = f'sum by (proxy) (haproxy_backend_active_servers{{proxy=~"{proxies}"}})'
    before = _servers(proxies, "UP", offset=f" offset {PATIENCE}")
    long = f"{before} == 0 and {_servers(proxies, 'UP', within=PATIENCE)} == 0"
    every = f"haproxy_server_status{{proxy='%s',server!='{NO_HOST.name}',state='UP'}}"
    total = f'{{{{ with printf "count({every})" $labels.proxy | query }}}}{{{{ . | first | value }}}}{{{{ end }}}}'
    return Alert(
        name="EngineOut",
        # The sum is the number of engines that are left. If none is, NoReadyEngine says so once.
        expr=f"(({up} == 0) unless ({waits} == 1 unless ({long}))) + on (proxy) group_left () ({left} > 0)",
        for_s=180,
        severity="warning",
        summary=f"{{{{ $labels.host }}}} takes no requests: {{{{ $value }}}} of {total} engines of pool "
        "{{ $labels.proxy }} left.",
        do="`make status` shows whether it is off, drains or failed. `make up` starts a machine that is off; "
        "`make provision` repairs an engine; docs/pools.md says how to end a drain.",
    )


def _wait_long(gateway: GatewaySpec) -> Alert:
    """Return the alert about waits. It names the limit: a quantile of a histogram is not exact."""
    late = [
        f"histogram_quantile(0.95, sum by (class, le) (rate(llm_queue_seconds_bucket{{{matcher}}}[5m])))"
        f" > {deadline_s / 2:g}"
        for matcher, deadline_s in deadlines(gateway).items()
    ]
    interactive_s, batch_s = deadlines(gateway).values()
    half = f'{{{{ if eq $labels.class "batch" }}}}{batch_s / 2:g}{{{{ else }}}}{interactive_s / 2:g}{{{{ end }}}}'
    return Alert(
        name="WaitLong",
        expr=" or ".join(late),
        for_s=120,
        severity="warning",
        summary=f"5 % of the requests of class {{{{ $labels.class }}}} wait longer than {half} s, "
        "half of the deadline.",
        do="`make top` shows the queue. Add a host, or lower the clients' shares.",
    )


def gpu_share(serving: ServingSpec) -> float:
    """Return the largest share of a GPU's memory that the engine takes."""
    return serving.vllm.gpu_memory_fraction if serving.engine == "vllm" else 1


def _host_alerts(serving: ServingSpec, gateway: GatewaySpec, monitoring: MonitoringSpec) -> Iterator[Alert]:
    yield from _certificate_alerts(gateway)
    yield Alert(
        name="DiskNearlyFull",
        expr='node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|squashfs|overlay|iso9660"}'
        ' / node_filesystem_size_bytes{fstype!~"tmpfs|ramfs|squashfs|overlay|iso9660"} < 0.1',
        for_s=300,
        severity="warning",
        summary="{{ $labels.host }} has {{ $value | humanizePercentage }} of {{ $labels.mountpoint }} left.",
        do="`make adapters DO=prune` removes old versions of adapters.",
    )
    own = gpu_share(serving)
    yield Alert(
        name="GpuMemoryFull",
        expr=f"llm_gpu_memory_used_bytes / llm_gpu_memory_total_bytes > {min(own + GPU_MEMORY_SPARE, 0.98):g}",
        for_s=300,
        severity="warning",
        summary="GPU {{ $labels.gpu }} of {{ $labels.host }} uses {{ $value | humanizePercentage }} of its memory.",
        do="Run nvidia-smi on the host: another program may use the GPU.",
    )
    yield Alert(
        name="GpuIdleWhileCpuComputes",
        expr="max by (host) (max_over_time(llm_gpu_busy_ratio[10m])) < 0.05"
        ' and on (host) (1 - avg by (host) (rate(node_cpu_seconds_total{mode="idle"}[5m])) > 0.5)',
        for_s=300,
        severity="warning",
        summary="The GPUs of {{ $labels.host }} are idle, and its processors are busy.",
        do="The engine may compute on the CPU: run `make smoke`.",
    )
    yield Alert(
        name="SpotNotice",
        expr="llm_spot_notice == 1",
        for_s=0,
        severity="warning",
        summary="The cloud takes {{ $labels.host }} back.",
        do="The host drains by itself; `make up` makes another one.",
    )
    yield Alert(
        name="LogVolumeHigh",
        expr=f"increase(llm_journal_written_bytes_total[1h]) > {monitoring.log_mib_per_hour} * 1024 * 1024",
        for_s=0,
        severity="warning",
        summary="The journal of {{ $labels.host }} grew by {{ $value | humanize1024 }}B in an hour.",
        do="`journalctl -o cat -n 100` on the host shows who writes.",
    )


def _certificate_alerts(gateway: GatewaySpec) -> Iterator[Alert]:
    days = CERTIFICATE_DAYS
    do = "`make provision` renews it."
    if gateway.tls.kind == "project_ca":
        days = min(days, max(1, gateway.tls.days // 4))
    else:
        do = f"If clients use this host, renew {gateway.tls.certificate} first. Run `make provision`."
    yield Alert(
        name="CertificateEndsSoon",
        expr=f"(llm_certificate_expires_seconds - time()) / 86400 < {days}",
        for_s=300,
        severity="warning",
        summary="The certificate of {{ $labels.host }} ends in {{ $value | humanize }} days.",
        do=do,
    )


def _watching_alerts(proxies: str) -> Iterator[Alert]:
    silent = "{{ $labels.job }} of {{ $labels.host }} is silent, so alerts about it cannot fire."
    dead = f"max by (host) (up) == 0 and on (host) {_servers(proxies, 'UP')} == 0"
    yield Alert(
        name="WatcherSilent",
        # Hosts behind the gateway's are read through its HAProxy: if that is down, GatewayDown says so once.
        # If a whole host is, EngineOut or NoReadyEngine does.
        expr=f'up{{job!="haproxy"}} == 0 unless on () (up{{job="haproxy"}} == 0) unless on (host) ({dead})',
        for_s=180,
        severity="warning",
        summary=silent,
        do="`make status` shows which unit of the host stopped, or that the host does not answer.",
    )
    yield Alert(
        name="HostMetricsOld",
        expr=f'time() - node_textfile_mtime_seconds{{file=~".*llm-host.prom"}} > {TEXTFILE_S}',
        for_s=60,
        severity="warning",
        summary="The timer of {{ $labels.host }} that measures certificate, journal and GPU is silent.",
        do="`systemctl status llm-host-metrics.service` on the host shows why.",
    )
    yield Alert(
        name="AccessLogSilent",
        expr="sum by (host) (rate(haproxy_frontend_http_requests_total[10m])) > 0.1"
        " and on (host) (sum by (host) (rate(llm_log_lines_total[10m])) == 0)",
        for_s=300,
        severity="warning",
        summary="The gateway of {{ $labels.host }} has requests, and no line of its log arrives.",
        do="`systemctl status llm-access-metrics.service` on the host shows why.",
    )
