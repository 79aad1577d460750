"""The panels of the dashboards: title, unit, and queries. Knows nothing of Grafana's JSON."""

from dataclasses import dataclass

from serving.spec.pool_name import OWN_BACKENDS


@dataclass(frozen=True, kw_only=True)
class Query:
    """One query of a panel."""

    expr: str
    """In PromQL; `$__rate_interval` is Grafana's."""
    legend: str = ""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel."""

    title: str
    unit: str
    """Grafana's name: `s`, `short`, `percentunit`, `bytes`, `currencyUSD`."""
    queries: tuple[Query, ...]
    width: int = 8
    """In Grafana's 24 columns."""
    kind: str = "timeseries"
    gpu: bool = False
    """Whether only a host with a GPU has these series."""


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """One dashboard."""

    uid: str
    title: str
    panels: tuple[Panel, ...]


def _quantiles(metric: str, by: str, legend: str) -> tuple[Query, ...]:
    """Return the median and the 95th percentile of a histogram."""
    return tuple(
        Query(
            expr=f"histogram_quantile({share}, sum by ({by}, le) (rate({metric}_bucket[$__rate_interval])))",
            legend=f"p{share * 100:.0f} {legend}",
        )
        for share in (0.5, 0.95)
    )


NO_POOLS = "|".join(OWN_BACKENDS)
"""HAProxy's backends beside those of pools."""

GATEWAY = Dashboard(
    uid="llm-gateway",
    title="LLM gateway",
    panels=(
        Panel(
            title="Engines that take requests",
            unit="short",
            kind="stat",
            width=4,
            queries=(Query(expr=f'sum by (proxy) (haproxy_backend_active_servers{{proxy!~"{NO_POOLS}"}})'),),
        ),
        Panel(
            title="Requests waiting now",
            unit="short",
            kind="stat",
            width=4,
            queries=(Query(expr="sum by (class) (llm_waiting_requests)", legend="{{class}}"),),
        ),
        Panel(
            title="Certificate ends in",
            unit="s",
            kind="stat",
            width=4,
            queries=(Query(expr="min by (host) (llm_certificate_expires_seconds - time())", legend="{{host}}"),),
        ),
        Panel(
            title="First token, as a client feels it",
            unit="s",
            width=12,
            queries=_quantiles("llm_first_token_seconds", "class, model, adapter", "{{class}} {{model}} {{adapter}}"),
        ),
        Panel(
            title="Requests by decision",
            unit="reqps",
            queries=(
                Query(
                    expr="sum by (decision, status) (rate(llm_requests_total[$__rate_interval]))",
                    legend="{{decision}} {{status}}",
                ),
            ),
        ),
        Panel(
            title="Requests by client",
            unit="reqps",
            queries=(
                Query(
                    expr="sum by (client, class) (rate(llm_client_requests_total[$__rate_interval]))",
                    legend="{{client}} {{class}}",
                ),
            ),
        ),
        Panel(
            title="Refused, by reason",
            unit="reqps",
            queries=(
                Query(
                    expr="sum by (class, reason) (rate(llm_refused_total[$__rate_interval]))",
                    legend="{{class}} {{reason}}",
                ),
            ),
        ),
        Panel(
            title="Wait in the queue",
            unit="s",
            queries=_quantiles("llm_queue_seconds", "class, pool", "{{class}} {{pool}}"),
        ),
        Panel(
            title="Requests waiting",
            unit="short",
            queries=(Query(expr="llm_waiting_requests", legend="{{class}} {{pool}}"),),
        ),
        Panel(
            title="Requests at each engine",
            unit="short",
            queries=(
                Query(
                    expr='haproxy_server_current_sessions{proxy!="engine-metrics",server!="_none"}',
                    legend="{{proxy}} {{server}}",
                ),
            ),
        ),
        Panel(
            title="Requests that did not end normally",
            unit="reqps",
            queries=(
                Query(
                    expr="sum by (server, ended) (rate(llm_cut_off_total[$__rate_interval]))",
                    legend="{{server}} {{ended}}",
                ),
            ),
        ),
        Panel(
            title="Requests sent a second time",
            unit="reqps",
            queries=(
                Query(
                    expr=f'rate(haproxy_server_retry_warnings_total{{proxy!~"{NO_POOLS}"}}[$__rate_interval])',
                    legend="{{proxy}}, first at {{server}}",
                ),
            ),
        ),
    ),
)

ENGINES = Dashboard(
    uid="llm-engines",
    title="LLM engines",
    panels=(
        Panel(
            title="Tokens a second",
            unit="short",
            width=12,
            queries=(
                Query(
                    expr="sum by (host) (rate(vllm:generation_tokens_total[$__rate_interval]))",
                    legend="answers {{host}}",
                ),
                Query(
                    expr="sum by (host) (rate(vllm:prompt_tokens_total[$__rate_interval]))", legend="prompts {{host}}"
                ),
            ),
        ),
        Panel(
            title="Tokens a second, by model and adapter",
            unit="short",
            width=12,
            queries=(
                Query(
                    expr="sum by (model, direction) (rate(llm_tokens_total[$__rate_interval]))",
                    legend="{{model}} {{direction}}",
                ),
            ),
        ),
        Panel(
            title="Requests in the engine",
            unit="short",
            queries=(
                Query(expr="vllm:num_requests_running", legend="running {{host}}"),
                Query(expr="vllm:num_requests_waiting", legend="waiting {{host}}"),
            ),
        ),
        Panel(
            title="KV cache in use",
            unit="percentunit",
            queries=(Query(expr="vllm:kv_cache_usage_perc", legend="{{host}}"),),
        ),
        Panel(
            title="Hits of the prefix cache",
            unit="percentunit",
            queries=(
                Query(
                    expr="sum by (host) (rate(vllm:prefix_cache_hits_total[$__rate_interval]))"
                    " / sum by (host) (rate(vllm:prefix_cache_queries_total[$__rate_interval]))",
                    legend="{{host}}",
                ),
            ),
        ),
        Panel(
            title="Time between two tokens",
            unit="s",
            queries=_quantiles("vllm:inter_token_latency_seconds", "host", "{{host}}"),
        ),
        Panel(
            title="First token inside the engine",
            unit="s",
            queries=_quantiles("vllm:time_to_first_token_seconds", "host", "{{host}}"),
        ),
        Panel(
            title="Preempted requests",
            unit="reqps",
            queries=(Query(expr="rate(vllm:num_preemptions_total[$__rate_interval])", legend="{{host}}"),),
        ),
    ),
)

HOSTS = Dashboard(
    uid="llm-hosts",
    title="LLM hosts",
    panels=(
        Panel(
            title="Processors busy",
            unit="percentunit",
            queries=(
                Query(
                    expr='1 - avg by (host) (rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval]))',
                    legend="{{host}}",
                ),
            ),
        ),
        Panel(
            title="Memory available",
            unit="bytes",
            queries=(Query(expr="node_memory_MemAvailable_bytes", legend="{{host}}"),),
        ),
        Panel(
            title="Disk free",
            unit="percentunit",
            queries=(
                Query(
                    expr='node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|squashfs|iso9660"}'
                    " / node_filesystem_size_bytes",
                    legend="{{host}} {{mountpoint}}",
                ),
            ),
        ),
        Panel(
            title="Journal, bytes a second",
            unit="Bps",
            queries=(Query(expr="rate(llm_journal_written_bytes_total[15m])", legend="{{host}}"),),
        ),
        Panel(
            title="Targets that answer",
            unit="short",
            queries=(Query(expr="up", legend="{{host}} {{job}}"),),
        ),
        Panel(
            title="GPU busy",
            unit="percentunit",
            gpu=True,
            queries=(Query(expr="llm_gpu_busy_ratio", legend="{{host}} {{gpu}}"),),
        ),
        Panel(
            title="GPU memory in use",
            unit="percentunit",
            gpu=True,
            queries=(Query(expr="llm_gpu_memory_used_bytes / llm_gpu_memory_total_bytes", legend="{{host}} {{gpu}}"),),
        ),
    ),
)

DASHBOARDS = (GATEWAY, ENGINES, HOSTS)
