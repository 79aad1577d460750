"""Names and places on a host that more than one role uses."""

SERVICE_USER = "llm"
"""The engine's user: no shell, no sudo, owns nothing but its caches."""

CONFIG_DIR = "/etc/llm"

ENGINE_ENV = "/etc/llm/engine.env"
"""Root-only environment file with the key between gateway and engine, made on the host: `VLLM_API_KEY=…`."""

ENGINE_ENV_TEMPLATE = "VLLM_API_KEY={secret}\n"

LIB_DIR = "/usr/local/lib/llm-deploy"
"""Root-owned helper programs of ours."""

GATEWAY_RUNTIME_DIRECTORY = "llm-gateway"
"""Below /run, root's: Debian's /run/haproxy belongs to HAProxy's user, where root without capabilities cannot write."""

HAPROXY_ADMIN_SOCKET = f"/run/{GATEWAY_RUNTIME_DIRECTORY}/admin.sock"

GATEWAY_BACKEND = "engine"
"""HAProxy's backend, and the name of the one server in it."""

ENGINE_UNIT = {"vllm": "vllm.service", "ollama": "ollama.service"}

DEVICES_UNIT = "llm-gpu-devices.service"
"""Runs to its end before each start of an engine on a GPU."""

GATEWAY_UNIT = "haproxy.service"

GATEWAY_USER = "haproxy"
"""Whom HAProxy becomes after its start, as Debian's package makes it."""

TUNNEL_UNIT = "llm-tunnel.service"
"""On the host of an engine that another one publishes."""

FIREWALL_UNIT = "llm-firewall.service"

GUARD_UNIT = "llm-engine-guard.service"
"""On a host whose gateway has its engine from a tunnel."""

FIREWALL_RULES = "/etc/llm/firewall.nft"
FIREWALL_TABLE = "llm_deploy"

GUARD_RULES = "/etc/llm/engine-guard.nft"
GUARD_TABLE = "llm_engine"

NFT_RULES = "/usr/local/lib/llm-deploy/nft-rules"
"""Loads tables of nftables, and says whether the kernel has them (programs/nft_rules.py)."""

RELEASE_NOTES = "/var/lib/llm-deploy/releases"
"""What the host remembers of an engine's releases, a file per unit (programs/engine_release.py)."""
