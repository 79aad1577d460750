"""Ports that several packages need."""

SSH_PORT = 22
"""The SSH port of hosts; an inventory can name another one."""

ENGINE_PORTS = (8000, 11434)
"""Where vLLM and Ollama listen on loopback; a stack file can name another port."""

DOOR_PORT = 8443
"""Where an engine's host accepts requests from the stack's gateway machine, over TLS."""

AGENT_PORT = 8406
"""Where an engine's host answers HAProxy's agent check."""

DOOR_PORTS = (DOOR_PORT, AGENT_PORT)
"""The ports of an engine's host that only the stack's gateway machine may reach."""

WATCH_METRICS_PORT = 8410
"""Where the watcher of an engine shows its state to a Prometheus on its host."""

OVERFLOW_PORT = 8411
"""Where the service that sends requests to providers listens to the gateway on its host."""

OVERFLOW_METRICS_PORT = 8412
"""Where that service shows its state to a Prometheus on its host."""

PROMETHEUS_PORT = 9090
ALERTMANAGER_PORT = 9093
NODE_EXPORTER_PORT = 9100
ACCESS_METRICS_PORT = 8409
"""Where mtail serves what it reads in the access log."""

GRAFANA_PORT = 3000
"""Where a Grafana listens, if the stack file names a package of it."""

SCREEN_PORTS = (PROMETHEUS_PORT, ALERTMANAGER_PORT)
"""Pages of the monitoring that people open, over SSH. Grafana's is not among them: few hosts have it."""

MONITORING_PORTS = (
    ACCESS_METRICS_PORT,
    NODE_EXPORTER_PORT,
    *SCREEN_PORTS,
)
"""Ports of the monitoring, on the loopback of its host."""
