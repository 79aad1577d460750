"""Ollama as a service: its release, its models, who on the host may connect to it, a hardened unit.

    DATA/ollama/releases/<version>-<checksum>/   a release, unpacked; DATA/ollama/current points to the running one
    DATA/ollama/models/                          the served models; the engine only reads them
    DATA/ollama/building/, sources/              models under construction, files from a registry

Does not install the GPU driver. Opens no port: the engine listens on loopback (see the gateway role).
"""

import json

from infra.contract.outputs import HostRecord
from provisioning.converge.resources import (
    Command,
    Directory,
    Download,
    File,
    Link,
    Packages,
    Resource,
    Tree,
)
from provisioning.programs import modules, program
from provisioning.roles.engine import engine
from provisioning.roles.engine.adapters import adapter_store, no_adapters
from provisioning.roles.engine.data_dir import data_dir_check
from provisioning.roles.engine.release import Release
from provisioning.roles.engine.store import Stored, base_store
from provisioning.roles.host import guard
from provisioning.roles.host.layout import CONFIG_DIR, ENGINE_UNIT, LIB_DIR, SERVICE_USER
from serving.engines.ollama import ollama_environment, ollama_models
from serving.sources.ollama import Archive
from serving.sources.resolve import ResolvedSources
from serving.spec.models import ServingSpec

UNIT = ENGINE_UNIT["ollama"]
OLLAMA_RELEASE = f"{LIB_DIR}/ollama-release"
OLLAMA_MODELS = f"{LIB_DIR}/ollama-models"
PLAN = f"{CONFIG_DIR}/ollama-models.json"

PACKAGES = (guard.PACKAGE, "tar", "zstd")
"""Releases are packed with zstd."""

UNPACK_TIMEOUT_S = 900
MAKE_TIMEOUT_S = 2 * 3600
MAKE_MEMORY = "50%"
"""Share of the host's memory for making models, because an engine may be serving meanwhile. It is enough for models of
any size, which are converted tensor by tensor."""
MAKE_OOM_SCORE = "500"
"""Above the engine's 200, so that the kernel kills the build before the engine. The build runs again."""


def ollama(
    host: HostRecord, serving: ServingSpec, sources: ResolvedSources, *, allow_downgrade: bool = False
) -> list[Resource]:
    """Return the resources that make `host` serve `serving` with Ollama, in working order, after the base role."""
    assert sources.release is not None  # noqa: S101  # resolve_sources gives one for engine ollama
    archive, root = sources.release, f"{host.data_dir}/ollama"
    release = Release(unit=UNIT, link=f"{root}/current", version=archive.version, allow_downgrade=allow_downgrade)
    helpers = [release.helper, *engine.helpers(), *_helpers()]
    installed = _installed(archive, root, release.link)
    made = _made(host, serving, sources, root)
    closed = guard.engine_guard(serving)
    unit_file = File(
        path=engine.unit_path("ollama"),
        content=_unit_text(host, serving, root),
        # If the model is refused, the engine's next start must still use the present settings.
        after=(f"link:{root}/current", made[-1].id),
    )
    needed = (f"link:{root}/current", made[-1].id, closed.id, unit_file.id)
    check = data_dir_check(host, f"{root}/releases", root, f"{root}/models")
    return [
        *release.version_check,
        check,
        Packages(name="ollama", present=PACKAGES),
        guard.GATEWAY,
        guard.WATCHER,
        *_folders(host.data_dir, root, check.id),
        *helpers,
        *installed,
        *made,
        closed,
        *guard.kept(closed),
        unit_file,
        engine.service(UNIT, serving, release, needed, (helper.id for helper in helpers)),
        release.keep,
        *_all_made(serving, root),
        no_adapters(host, serving, after=release.keep.id),
    ]


def _helpers() -> list[Resource]:
    """Return this project's programs that unpack releases and make models."""
    return [
        File(path=OLLAMA_RELEASE, content=program("ollama/ollama_release"), mode=0o755),
        File(path=OLLAMA_MODELS, content=program("ollama/ollama_models"), mode=0o755),
        *(
            File(path=f"{LIB_DIR}/llm_ollama/{name}", content=text)
            for name, text in modules("ollama/llm_ollama").items()
        ),
    ]


def _folders(data: str, root: str, check: str) -> list[Resource]:
    """Return the folders, made after `check`: root owns them, except those for fetching and making models."""
    ours = (data, f"{data}/models", f"{data}/adapters", root, f"{root}/archives", f"{root}/releases")
    theirs = (f"{root}/models", f"{root}/building", f"{root}/sources")
    return [
        *(Directory(path=path, after=(check,)) for path in ours),
        *(Directory(path=path, owner=SERVICE_USER, group=SERVICE_USER, after=(check,)) for path in theirs),
    ]


def _installed(archive: Archive, root: str, link: str) -> list[Resource]:
    """Return the resources that bring the archive, unpack it beside the running release, and move the link."""
    name = f"{archive.version}-{archive.sha256[:12]}"
    brought, packed = _brought(archive, f"{root}/archives")
    unpack = ("python3", OLLAMA_RELEASE, packed, f"{root}/releases/{name}", archive.version)
    unpacked = Command(
        name="ollama-release",
        argv=unpack,
        check=(*unpack, "--check"),
        timeout_s=UNPACK_TIMEOUT_S,
        after=(brought.id, "packages:ollama", f"file:{OLLAMA_RELEASE}", f"directory:{root}/releases"),
    )
    return [brought, unpacked, Link(path=link, target=f"releases/{name}", after=(unpacked.id,))]


def _brought(archive: Archive, folder: str) -> tuple[Resource, str]:
    """Return the resource that brings the archive to the host and checks it, and the archive's path."""
    after = (f"directory:{folder}",)
    if archive.folder is not None:
        path = f"{folder}/{archive.version}-{archive.sha256[:12]}"
        return Tree(path=path, source=archive.folder, after=after), f"{path}/{archive.name}"
    suffix = ".tar.zst" if archive.url.endswith(".zst") else ".tar.gz"
    path = f"{folder}/ollama-{archive.version}-{archive.sha256[:12]}{suffix}"
    return Download(path=path, url=archive.url, sha256=archive.sha256, after=after), path


def _made(host: HostRecord, serving: ServingSpec, sources: ResolvedSources, root: str) -> list[Resource]:
    """Return the resources that bring base and adapters, and the command that makes Ollama models of them."""
    base = base_store(host, serving, sources.model)
    adapters = [
        adapter_store(host, serving, adapter, source, base_folder=base.path)
        for adapter, source in zip(serving.adapters, sources.adapters, strict=True)
    ]
    paths = [adapter.path for adapter in adapters]
    resource = {
        "program": f"{root}/current/bin/ollama",
        "root": root,
        "prune": serving.ollama.prune,
        "models": ollama_models(serving, _made_from(serving, base), paths, threads=_threads(host)),
    }
    plan = File(path=PLAN, content=json.dumps(resource, indent=1, ensure_ascii=False) + "\n")
    files = (base.resource, *(adapter.resource for adapter in adapters), plan)
    make = Command(
        name="ollama-models",
        argv=(*_sandbox(root), "/usr/bin/python3", OLLAMA_MODELS, PLAN),
        check=("python3", OLLAMA_MODELS, PLAN, "--check"),
        timeout_s=MAKE_TIMEOUT_S,
        after=(
            f"link:{root}/current",
            *(helper.id for helper in _helpers()),
            *(f"directory:{root}/{name}" for name in ("models", "building", "sources")),
            # Without the adapters: an adapter whose files are missing is left out and does not stop the others.
            base.resource.id,
            plan.id,
        ),
    )
    return [*files, make]


def _threads(host: HostRecord) -> int | None:
    """Return the number of compute threads. None: Ollama chooses, one for each processor that it sees.

    In a container, Ollama sees the kernel's processors, and the container may use fewer. A thread without a processor
    of its own delays the others, which spin while they wait. Measured on two processors with two other busy processes:
    the tiny model gave 9 tokens per second with two threads and 1,917 with one.
    """
    return host.cpu_count if host.virtualization == "container" and host.gpu is None else None


def _all_made(serving: ServingSpec, root: str) -> tuple[Command, ...]:
    """Return the command that fails, once the engine serves, if an adapter could not be made."""
    if not serving.adapters:
        return ()
    words = (OLLAMA_MODELS, PLAN, "--all")
    return (
        Command(
            name="ollama-adapters",
            argv=(*_sandbox(root), "/usr/bin/python3", *words),
            check=("python3", *words, "--look"),
            timeout_s=MAKE_TIMEOUT_S,
            after=(f"unit:{UNIT}",),
        ),
    )


def _made_from(serving: ServingSpec, base: Stored) -> dict[str, str]:
    """Return the source of the base model in the form that the program reads."""
    source = serving.model.source
    if source.kind == "gguf":
        return {"gguf": f"{base.path}/model.gguf", "sha256": source.sha256}
    return {"registry" if source.kind == "ollama" else "folder": base.path}


def _sandbox(root: str) -> tuple[str, ...]:
    """Return the words that run a command as the engine's user, without network except a private loopback.

    A complete Ollama server makes the models. No one else may reach it, and its input may be untrusted.
    """
    properties = {
        "User": SERVICE_USER,
        "PrivateNetwork": "yes",
        "PrivateTmp": "yes",
        "PrivateDevices": "yes",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "ProtectSystem": "strict",
        "ReadWritePaths": root,
        "ProtectKernelTunables": "yes",
        "ProtectControlGroups": "yes",
        "RestrictSUIDSGID": "yes",
        "RuntimeMaxSec": str(MAKE_TIMEOUT_S),
        "MemoryMax": MAKE_MEMORY,
        "OOMScoreAdjust": MAKE_OOM_SCORE,
    }
    words = (f"--property={name}={value}" for name, value in properties.items())
    return ("systemd-run", "--quiet", "--pipe", "--wait", "--collect", *words)


def _unit_text(host: HostRecord, serving: ServingSpec, root: str) -> str:
    """Return the unit file."""
    served = engine.Program(
        engine="ollama",
        command=(f"{root}/current/bin/ollama", "serve"),
        environment=ollama_environment(serving, store=f"{root}/models", home=engine.CACHE),
        logs_on_stdout=False,
        drains_itself=False,
    )
    return engine.unit_text(host, serving, served)
