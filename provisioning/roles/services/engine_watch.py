"""The watcher of an engine: services/engine_watch, and the root unit that ends an engine that hangs.

The watcher itself has no rights: it makes a file, and a path unit of systemd starts the one command for it.
"""

import json

from core.ports import AGENT_PORT, WATCH_METRICS_PORT
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.converge.resources import File, GeneratedSecret, Resource, Unit
from provisioning.hosts.topology import HostRole, Topology
from provisioning.roles.engine.adapters import WATCHED_ADAPTERS, watched_adapters
from provisioning.roles.engine.engine import GPU_DEVICES
from provisioning.roles.host.guard import WATCHER
from provisioning.roles.host.layout import (
    CONFIG_DIR,
    ENGINE_ENV,
    ENGINE_ENV_TEMPLATE,
    ENGINE_UNIT,
    RESTART_PATH_UNIT,
    RESTART_UNIT,
    WATCH_UNIT,
)
from provisioning.roles.services.on_request import on_request
from provisioning.roles.services.service import Service, service_files, unit_file

PACKAGE = "engine_watch"
SETTINGS = f"{CONFIG_DIR}/engine-watch.json"
RUNTIME_DIRECTORY = "llm-watch"
REQUEST = f"/run/{RUNTIME_DIRECTORY}/restart"

GPU_STEP_S = 60
"""Longer than any step of an engine on a GPU: one part of a prompt, or the kernels that the first request compiles."""


def engine_watch(host: HostRecord, outputs: StackOutputs) -> list[Resource]:
    """Return the resources of the watcher on an engine's host, in working order, after the engine's role."""
    serving = outputs.serving_of(host)
    engine_unit = ENGINE_UNIT[serving.engine]
    # The engine's role returns the same resources; each role also works without the other.
    key = [GeneratedSecret(path=ENGINE_ENV, template=ENGINE_ENV_TEMPLATE)] if serving.engine == "vllm" else []
    files = service_files(PACKAGE)
    settings = File(path=SETTINGS, content=_settings(host, outputs))
    service = Service(
        unit=WATCH_UNIT,
        description="Watch the engine, and tell HAProxy whether it may have requests",
        package=PACKAGE,
        user=WATCHER.name,
        arguments=(SETTINGS,),
        environment_files=tuple(each.path for each in key),
        runtime_directory=RUNTIME_DIRECTORY,
        allowed_addresses=("any",) if _listens_outside(host, outputs) else ("localhost",),
        after=(engine_unit,),
        sees_processes=True,
        gpu_devices=GPU_DEVICES if host.gpu else (),
    )
    unit = unit_file(service, after=(WATCHER.id,))
    needed = (*(each.id for each in (*files, *key)), settings.id, unit.id)
    return [
        WATCHER,
        *key,
        *files,
        watched_adapters(serving),
        settings,
        unit,
        *on_request(
            RESTART_PATH_UNIT,
            RESTART_UNIT,
            "End an engine that hangs; systemd starts it again, within the start limit of its unit",
            REQUEST,
            # A process that hangs answers no other signal.
            [("/bin/systemctl", "kill", "--signal=SIGKILL", engine_unit)],
        ),
        Unit(name=WATCH_UNIT, restart_on=needed, after=needed),
    ]


def _settings(host: HostRecord, outputs: StackOutputs) -> str:
    serving = outputs.serving_of(host)
    # On a CPU one part of a prompt may take minutes, and Ollama has no counter of its steps. Nobody waits longer than
    # the gateway does.
    burning_s = GPU_STEP_S if host.gpu and serving.engine == "vllm" else outputs.gateway.request_timeout_s
    values = {
        "engine": serving.engine,
        "unit": ENGINE_UNIT[serving.engine],
        "port": serving.port,
        "base": serving.with_tag(serving.model.name),
        "burning_s": burning_s,
        "agent_address": "::" if _listens_outside(host, outputs) else "127.0.0.1",
        "agent_port": AGENT_PORT,
        "metrics_port": WATCH_METRICS_PORT,
        "gpu": host.gpu is not None,
        "adapters_file": WATCHED_ADAPTERS,
    }
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def _listens_outside(host: HostRecord, outputs: StackOutputs) -> bool:
    """Return whether the gateway that asks is on another host; the firewall lets only that one in."""
    return Topology(outputs).has(host, HostRole.DOOR)
