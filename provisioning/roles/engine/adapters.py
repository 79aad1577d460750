"""Adapters of a running vLLM: their folders, the plugin that moves aliases, and the list served after each start.

Does not fetch (provisioning/roles/engine/store.py) and restarts nothing: new versions are loaded beside the served
ones.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra.contract.outputs import HostRecord
from provisioning.converge.resources import Command, Directory, File, Resource
from provisioning.programs import program
from provisioning.roles.engine.store import Stored, fetch_program, model_path, store
from provisioning.roles.host.layout import CONFIG_DIR, ENGINE_UNIT, LIB_DIR
from serving.adapters.checks import WEIGHTS
from serving.sources.resolve import ResolvedSource, ResolvedSources
from serving.spec.fields import AdapterSpec, HubSource
from serving.spec.models import ServingSpec

ADAPTER_VERSIONS = f"{LIB_DIR}/adapter-versions"

WATCHED_ADAPTERS = f"{CONFIG_DIR}/engine-watch-adapters.json"

PLUGIN_DIR = f"{LIB_DIR}/vllm-plugin"
"""On the engine's PYTHONPATH. It looks like an installed distribution to Python, so that vLLM finds the plugin."""

PLUGIN_METADATA = f"{PLUGIN_DIR}/llm_deploy_adapters-1.dist-info"

LOAD_TIMEOUT_S = 900
"""How long a running engine may take to load all versions together."""


@dataclass(frozen=True)
class Adapters:
    """The resources of adapters, grouped by how the engine's unit depends on them."""

    plugin: Sequence[File]
    """A change of one of these files restarts the engine."""
    versions: Sequence[Resource]
    """Files of the versions, and the commands that let a running engine serve them.

    In a host's list they come after the engine's key.
    """
    served: Sequence[Resource]
    """The part of `versions` that the engine's start waits for: a version without files does not delay it."""
    loaded: Sequence[Command]
    """A command that fails after the engine's start if the engine left out an adapter that it cannot load."""

    @property
    def resources(self) -> tuple[Resource, ...]:
        """All resources, in working order."""
        return (*self.plugin, *self.versions)

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the resources that the engine's start waits for."""
        return tuple(resource.id for resource in (*self.plugin, *self.served))


def adapters(
    host: HostRecord,
    serving: ServingSpec,
    sources: ResolvedSources,
    *,
    engine_follows: bool = True,
    retire: Mapping[str, str] | None = None,
) -> Adapters:
    """Return the resources that bring the adapters to `host`, and load them if its engine runs as `serving` says.

    `engine_follows` means that an engine with other settings is restarted right afterwards. Without it such an engine
    is refused, because its next start could fail. `retire` maps each name to stop serving to who asked for that.
    """
    if not serving.adapters:
        return Adapters((), (), (), ())
    base_folder = model_path(host, serving, sources.model)
    stored = [
        adapter_store(host, serving, adapter, source, base_folder=base_folder)
        for adapter, source in zip(serving.adapters, sources.adapters, strict=True)
    ]
    helper = File(path=ADAPTER_VERSIONS, content=program("adapters/adapter_versions"), mode=0o755)
    resource = {
        "versions": {adapter.versioned_name: each.path for adapter, each in zip(serving.adapters, stored, strict=True)},
        "aliases": {adapter.name: adapter.versioned_name for adapter in serving.adapters if adapter.promoted},
        "keep": serving.aliases_by == "promote",
        "engine": engine_id(host, serving, sources),
        "engine_follows": engine_follows,
        "retire": dict(retire or {}),
        "base": base_folder,
        "whole": True,
    }
    words = (host.data_dir, str(serving.port), json.dumps(resource, sort_keys=True))
    served = Command(
        name="adapters",
        argv=("python3", ADAPTER_VERSIONS, "apply", *words),
        check=("python3", ADAPTER_VERSIONS, "check", *words),
        timeout_s=LOAD_TIMEOUT_S,
        after=(helper.id,),
    )
    loaded = Command(
        name="adapters-loaded",
        argv=("python3", ADAPTER_VERSIONS, "loaded", *words),
        check=("python3", ADAPTER_VERSIONS, "left-out", *words),
        timeout_s=LOAD_TIMEOUT_S,
        after=(f"unit:{ENGINE_UNIT['vllm']}",),
    )
    brought = tuple(each.resource for each in stored)
    return Adapters(_plugin(), (helper, *brought, served), (helper, served), (loaded,))


def adapters_alone(
    host: HostRecord, serving: ServingSpec, sources: ResolvedSources, retire: Mapping[str, str]
) -> list[Resource]:
    """Return the resources that bring the adapters to a host whose engine was started with adapters."""
    folders = [Directory(path=path) for path in (host.data_dir, f"{host.data_dir}/adapters")]
    brought: Sequence[Resource] = adapters(host, serving, sources, engine_follows=False, retire=retire).versions
    if retire and not serving.adapters:  # the last one of its pool: adapters of other pools may be listed
        engine = engine_id(host, serving, sources)
        brought = [no_adapters(host, serving, engine=engine, retire=retire)]
    return [*folders, watched_adapters(serving), *fetch_program(), *brought]


def watched_adapters(serving: ServingSpec) -> File:
    """Return the list of adapters that the watcher asks for a token at the engine's next start.

    With Ollama it is empty: each adapter is a model of its own there, and a question would load it in place of another.
    """
    names = [serving.immutable_name_of(each) for each in serving.adapters] if serving.engine == "vllm" else []
    return File(path=WATCHED_ADAPTERS, content=json.dumps(names, ensure_ascii=False) + "\n")


def no_adapters(
    host: HostRecord,
    serving: ServingSpec,
    *,
    after: str = "",
    engine: str = "",
    retire: Mapping[str, str] | None = None,
) -> Command:
    """Return the command that stops serving adapters on a host that served some; a plan names them.

    It runs `after` the engine without adapters has answered: until then, the previous engine's start reads the file.
    With `engine`, the id of the running one, it goes on without the names in `retire`.
    """
    served = f"{host.data_dir}/adapters/served.json"
    resource = {
        "versions": {},
        "aliases": {},
        "keep": bool(engine),
        "engine": engine,
        "engine_follows": not engine,
        "retire": dict(retire or {}),
    }
    words = (ADAPTER_VERSIONS, served, host.data_dir, str(serving.port), json.dumps(resource, sort_keys=True))
    apply, check = (
        ("sh", "-c", f'served=$1; shift; [ ! -e "$served" ] || exec python3 "$0" {verb} "$@"', *words)
        for verb in ("apply", "check")
    )
    return Command(name="adapters", argv=apply, check=check, after=(after,) if after else ())


def engine_id(host: HostRecord, serving: ServingSpec, sources: ResolvedSources) -> str:
    """Return a digest of base model, options and plugin, which decide which adapters an engine can load."""
    model = model_path(host, serving, sources.model)
    options = [
        serving.model.model_dump_json(exclude={"source"}),
        serving.vllm.model_dump_json(),
        program("adapters/vllm_adapters"),
    ]
    return hashlib.sha256("\n".join((model, *options)).encode()).hexdigest()[:16]


def adapter_store(
    host: HostRecord, serving: ServingSpec, adapter: AdapterSpec, source: ResolvedSource, *, base_folder: str
) -> Stored:
    """Return the resource that brings one version to its own folder on `host`, where its files never change.

    An adapter that the host fetches is compared with the base model in `base_folder` before its weights are fetched.
    """
    base = serving.model.source
    conditions = (
        *((f"{WEIGHTS}={adapter.sha256}",) if adapter.sha256 else ()),
        # Only a rank that the user wrote is checked: without one, adapters of any rank have been served.
        *((f"--rank={adapter.rank}",) if "rank" in adapter.model_fields_set else ()),
        *((f"--max-rank={serving.vllm.max_lora_rank}",) if serving.engine == "vllm" else ()),
        *((f"--target-modules={','.join(adapter.target_modules)}",) if adapter.target_modules else ()),
        *((f"--base={base.repo}",) if isinstance(base, HubSource) else ()),
        *((f"--stated-base={adapter.base}",) if adapter.base else ()),
        f"--engine={serving.engine}",
        f"--base-folder={base_folder}",
    )
    return store(source, f"{host.data_dir}/adapters/{adapter.versioned_name}", conditions, immutable=True)


def environment(host: HostRecord, serving: ServingSpec, sources: ResolvedSources) -> dict[str, str]:
    """Return the environment that makes vLLM load this plugin only."""
    if not serving.adapters:
        return {}
    return {
        "PYTHONPATH": PLUGIN_DIR,
        "VLLM_PLUGINS": "llm_deploy_adapters",
        "LLM_DEPLOY_ADAPTERS": f"{host.data_dir}/adapters/served.json",
        "LLM_DEPLOY_ENGINE": engine_id(host, serving, sources),
    }


def _plugin() -> tuple[File, ...]:
    return (
        File(path=f"{PLUGIN_DIR}/llm_deploy_adapters.py", content=program("adapters/vllm_adapters")),
        File(
            path=f"{PLUGIN_METADATA}/METADATA", content="Metadata-Version: 2.1\nName: llm-deploy-adapters\nVersion: 1\n"
        ),
        File(
            path=f"{PLUGIN_METADATA}/entry_points.txt",
            content="[vllm.endpoint_plugins]\nllm_deploy_adapters = llm_deploy_adapters:Adapters\n",
        ),
    )
