"""What the units of all engines share: template, sandbox, watching programs, memory limits.

Knows no options of an engine: each engine's role passes them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from infra.contract.outputs import HostRecord
from provisioning.converge.resources import File, Resource, Unit
from provisioning.programs import program
from provisioning.roles.engine.release import Release
from provisioning.roles.engine.store import fetch_program
from provisioning.roles.host import guard
from provisioning.roles.host.layout import (
    DEVICES_UNIT,
    ENGINE_UNIT,
    HAPROXY_ADMIN_SOCKET,
    LIB_DIR,
    NOTICE_DIR,
    SERVICE_USER,
)
from provisioning.templates.render import render
from serving.spec.models import ServingSpec

CACHE = "/var/cache/llm"
ENGINE_READY = f"{LIB_DIR}/engine-ready"
DRAIN_ENGINE = f"{LIB_DIR}/gateway-server"

GPU_DEVICES = (
    "char-nvidia",
    "char-nvidia-frontend",
    "char-nvidia-uvm",
    "char-nvidia-caps",
    "char-nvidia-nvswitch",
    "/dev/dxg",
)
"""Names in /proc/devices; the driver called its first one nvidia-frontend until release 545. WSL 2 has dxg."""

READY_LOOK_S = 15
"""How long a provision waits for a token from an engine that should already be running."""

START_LIMIT_INTERVAL_S = 600
START_LIMIT_BURST = 5
"""An engine that cannot start fails within a minute. After five failures in a row it stays down."""

PASSING = (
    "is less than requested memory for kv|is less than desired CPU memory|Free memory on device .* is less than"
    "|[Aa]ddress already in use"
)
"""What vLLM and Ollama write if another process holds memory, GPU memory or the port at that moment.

That may be the previous process, still ending, so systemd retries up to its start limit. Any other cause ends a
provision at the second death: a wrong option or model stays wrong, and each load may take minutes.
"""

LEFT_OUT = r"llm_deploy_adapters: (\S+?):? (?:is left out: )?the engine ended while it loaded"
"""What the plugin in vLLM writes about an adapter that ended the engine (programs/adapters/vllm_adapters.py).

The plugin writes it when the engine ends, and again at the next start, because the kernel may have killed the plugin
with the engine.
"""

SYSTEM_MIB = 1024
"""Memory that a CPU host reserves for the system, in MiB."""

HEALTH_PATH = {"vllm": "/health", "ollama": "/api/version"}
"""The path that answers 200 as soon as the engine takes requests, by engine."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """The program that the unit of one engine runs."""

    engine: Literal["vllm", "ollama"]
    command: tuple[str, ...]
    """No argument needs quotes: names and paths hold only letters, digits and `/@._-` (ServedName, DataDir)."""
    environment: Mapping[str, str]
    engine_env: str = ""
    """File with the engine's key; None for an engine without a key."""
    logs_on_stdout: bool = True
    """Whether the journal gets its standard output. Ollama writes each health check there, and errors elsewhere."""
    drains_itself: bool = True
    """Whether it finishes running answers on SIGTERM."""


def unit_path(engine: str) -> str:
    """Return the path of the unit file of `engine`."""
    return f"/etc/systemd/system/{ENGINE_UNIT[engine]}"


def unit_text(host: HostRecord, serving: ServingSpec, program: Program) -> str:
    """Return the unit file."""
    return render(
        "engine.service.j2",
        program=program,
        model=serving.model.name,
        port=serving.port,
        user=SERVICE_USER,
        guard=guard.LOAD,
        cache=CACHE,
        cache_name=CACHE.rpartition("/")[2],
        ready=ready_command(serving, serving.ready_timeout_s),
        drain_engine=DRAIN_ENGINE,
        drain_notice=f"{NOTICE_DIR}/drain",
        admin_socket=HAPROXY_ADMIN_SOCKET,
        gateway_server=f"{host.pool}/{host.name}",
        ready_timeout_s=serving.ready_timeout_s,
        drain_s=serving.drain_s,
        start_limit_interval_s=START_LIMIT_INTERVAL_S,
        start_limit_burst=START_LIMIT_BURST,
        memory_max_mib=memory_max_mib(host, serving),
        protect_home="read-only" if host.data_dir.startswith(("/home/", "/root/")) else "yes",
        gpu=host.gpu is not None,
        devices_unit=DEVICES_UNIT,
        gpu_devices=GPU_DEVICES,
    )


def service(name: str, serving: ServingSpec, release: Release, needed: tuple[str, ...], after: Iterable[str]) -> Unit:
    """Return the engine's unit. A change of one of `needed` restarts it.

    If it then does not answer, the previous release returns.
    """
    return Unit(
        name=name,
        restart_on=needed,
        ready=ready_command(serving, READY_LOOK_S),
        ready_timeout_s=serving.ready_timeout_s,
        undo=release.undo,
        passing=PASSING,
        left_out=LEFT_OUT,
        after=(*needed, *after),
    )


def ready_command(serving: ServingSpec, timeout_s: int) -> tuple[str, ...]:
    """Return the command that waits at most `timeout_s` until the engine answers; this also loads the base model."""
    words = (str(serving.port), serving.model.name, str(timeout_s), HEALTH_PATH[serving.engine])
    return ("/usr/bin/python3", ENGINE_READY, *words)


def memory_max_mib(host: HostRecord, serving: ServingSpec) -> int | None:
    """Return the unit's memory limit in MiB.

    If the spec sets none, a CPU host reserves 1 GiB for the system. A GPU host then gets no limit: weights pass through
    the page cache on their way to the GPU, and systemd would count them.
    """
    if serving.memory_max_gib is not None:
        return round(serving.memory_max_gib * 1024)
    return None if host.gpu else max(SYSTEM_MIB, round(host.memory_gib * 1024) - SYSTEM_MIB)


def helpers() -> list[Resource]:
    """Return this project's programs that the unit and the fetches call."""
    names = {ENGINE_READY: "engine/engine_ready", DRAIN_ENGINE: "gateway/drain_engine"}
    return [*(File(path=path, content=program(name), mode=0o755) for path, name in names.items()), *fetch_program()]
