"""Names and places on a host that more than one role uses."""

SERVICE_USER = "llm"
"""The engine's user: no shell, no sudo, owns nothing but its caches."""

CONFIG_DIR = "/etc/llm"

ENGINE_ENV = "/etc/llm/engine.env"
"""Root-only environment file with the key between gateway and engine, made on the host: `VLLM_API_KEY=…`."""

ENGINE_ENV_TEMPLATE = "VLLM_API_KEY={secret}\n"

LIB_DIR = "/usr/local/lib/llm-deploy"
"""This project's helper programs, owned by root."""

GATEWAY_RUNTIME_DIRECTORY = "llm-gateway"
"""Below /run, owned by root: Debian's /run/haproxy belongs to HAProxy's user, and root without capabilities cannot
write there."""

HAPROXY_ADMIN_SOCKET = f"/run/{GATEWAY_RUNTIME_DIRECTORY}/admin.sock"

ENGINE_UNIT = {"vllm": "vllm.service", "ollama": "ollama.service"}

DEVICES_UNIT = "llm-gpu-devices.service"
"""Runs to its end before each start of an engine on a GPU."""

GATEWAY_UNIT = "haproxy.service"

GATEWAY_USER = "haproxy"
"""The user that HAProxy switches to after its start, from Debian's package."""

WATCH_UNIT = "llm-engine-watch.service"
"""On the engine's host: answers HAProxy's agent check."""

WATCH_USER = "llm-watch"

NOTICE_DIR = "/run/llm-notice"
"""Files that make the watcher answer `drain`: `drain`, and `notice.json` of a cloud that takes the machine back."""

RESTART_UNIT = "llm-engine-restart.service"
"""Ends an engine that hangs, when the watcher asks for it."""

RESTART_PATH_UNIT = "llm-engine-restart.path"
"""Starts that unit."""

SPOT_UNIT = "llm-spot-notice.service"
"""On a spot machine with an engine: asks the cloud whether it takes the machine back."""

SPOT_USER = "llm-notice"

SPOT_STOP_UNIT = "llm-spot-stop.service"
"""Stops the engine before a spot machine ends."""

SPOT_STOP_PATH_UNIT = "llm-spot-stop.path"
"""Starts that unit."""

RECORDS_UNIT = "llm-notice-records.service"
"""Sends the last records of a spot machine to the stack's bucket."""

RECORDS_PATH_UNIT = "llm-notice-records.path"
"""Starts that unit."""

TUNNEL_UNIT = "llm-tunnel.service"
"""On the engine's host, if another host has the gateway."""

TUNNEL_WATCH_UNIT = "llm-tunnel-watch.service"
"""The same for the watcher's port. A gateway's host that does not permit it must not lose the engine's."""

OVERFLOW_UNIT = "llm-overflow.service"
OVERFLOW_USER = "llm-overflow"
"""The service that sends requests to providers. It alone has a way out."""

WAY_OUT_UNIT = "llm-way-out.service"
"""Loads the rules about who may open connections to other hosts."""

FIREWALL_UNIT = "llm-firewall.service"

PROMETHEUS_UNIT = "prometheus.service"

ALERTMANAGER_UNIT = "prometheus-alertmanager.service"

NODE_EXPORTER_UNIT = "prometheus-node-exporter.service"

ACCESS_METRICS_UNIT = "llm-access-metrics.service"
"""mtail, which reads the access log."""

HOST_METRICS_UNIT = "llm-host-metrics.timer"
"""Measures the host once a minute."""

GRAFANA_UNIT = "grafana-server.service"

MONITORING_UNITS = (
    PROMETHEUS_UNIT,
    ALERTMANAGER_UNIT,
    NODE_EXPORTER_UNIT,
    ACCESS_METRICS_UNIT,
    HOST_METRICS_UNIT,
    GRAFANA_UNIT,
)
"""On a gateway's host with `gateway.monitoring`; Alertmanager only with `gateway.alerts`, Grafana only with its
package."""

GUARD_UNIT = "llm-engine-guard.service"
"""On the gateway's host, if its engine comes through a tunnel."""

FIREWALL_RULES = "/etc/llm/firewall.nft"
FIREWALL_TABLE = "llm_deploy"

GUARD_RULES = "/etc/llm/engine-guard.nft"
GUARD_TABLE = "llm_engine"

NFT_RULES = "/usr/local/lib/llm-deploy/nft-rules"
"""Loads tables of nftables, and says whether the kernel has them (programs/firewall/nft_rules.py)."""

RELEASE_NOTES = "/var/lib/llm-deploy/releases"
"""The host's record of an engine's releases, one file per unit (programs/engine/engine_release.py)."""


def overflow_ledger(data_dir: str) -> str:
    """Return the file with what providers cost, on the data volume if there is one. No command deletes it."""
    return f"{data_dir}/overflow/ledger.sqlite3"


def units_with_status(
    engine: str, *, alerts: bool = False, monitoring: bool = False, grafana: bool = False
) -> list[str]:
    """Return the units that `status` shows, in its order. It leaves out those that a host does not have."""
    left_out = {*(() if alerts else (ALERTMANAGER_UNIT,)), *(() if grafana else (GRAFANA_UNIT,))}
    watching = [unit for unit in MONITORING_UNITS if unit not in left_out] if monitoring else []
    return [
        ENGINE_UNIT[engine],
        WATCH_UNIT,
        RESTART_PATH_UNIT,
        SPOT_UNIT,
        SPOT_STOP_PATH_UNIT,
        RECORDS_PATH_UNIT,
        OVERFLOW_UNIT,
        TUNNEL_UNIT,
        TUNNEL_WATCH_UNIT,
        GUARD_UNIT,
        WAY_OUT_UNIT,
        GATEWAY_UNIT,
        FIREWALL_UNIT,
        *watching,
    ]


LOGS_OF = ("engine", "watch", "spot", "overflow", "gateway")
"""The words of `logs --unit`."""


def units_with_logs(engine: str) -> dict[str, str]:
    """Return the units whose journal `logs` prints, by the word of its option `--unit`."""
    return dict(zip(LOGS_OF, (ENGINE_UNIT[engine], WATCH_UNIT, SPOT_UNIT, OVERFLOW_UNIT, GATEWAY_UNIT), strict=True))
