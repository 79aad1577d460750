"""Resolve sources: a folder that is sent to the host, or a place from which the host fetches.

Copies and fetches nothing itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from core.errors import ConfigError
from core.paths import full_path
from core.reading.regular_files import check_below
from serving.adapters.checks import check_adapter
from serving.sources.checksums import check_listed
from serving.sources.model_folder import check_model
from serving.sources.ollama import Archive, RegistryFetch, gguf_folder, release_archive
from serving.spec.fields import FolderSource, HubSource, ModelSource, Source, TinySource
from serving.spec.models import ServingSpec
from serving.spec.ollama import GgufSource, OllamaSource
from serving.spec.remote_sources import BucketSource, HttpsSource
from tools.tiny_model import make_tiny_model


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this computer, sent to the host and checked file by file."""

    path: Path


@dataclass(frozen=True)
class HubFetch:
    """A repository of the hub at a commit. The host fetches it and checks the hub's checksums."""

    repo: str
    revision: str
    token: SecretStr | None = None
    endpoint: str = ""
    """Address of a mirror; empty for the hub. The token is sent only to this server."""

    @property
    def conditions(self) -> tuple[str, ...]:
        """More arguments of the fetch program."""
        return (f"--endpoint={self.endpoint}",) if self.endpoint else ()

    @property
    def fetch_arguments(self) -> tuple[str, str]:
        """Arguments of the fetch program: source and pin."""
        return (self.repo, self.revision)

    @property
    def environment(self) -> dict[str, SecretStr]:
        """Secrets of the fetch program."""
        return {"HF_TOKEN": self.token} if self.token else {}


@dataclass(frozen=True)
class ListedFetch:
    """A folder of a bucket or web server. The host fetches it and checks it against its SHA256SUMS."""

    url: str
    sha256: str
    """Checksum of SHA256SUMS."""
    environment: Mapping[str, SecretStr] = field(default_factory=dict)
    """Secrets of the fetch program."""
    by_host: bool = False
    """Whether the host reads it with its own role. This computer may not have access."""
    by_login: bool = False
    """Whether the host reads it with this computer's login. The caller adds the login to the environment."""

    @property
    def fetch_arguments(self) -> tuple[str, str]:
        """Arguments of the fetch program: source and pin."""
        return (self.url, self.sha256)


ResolvedSource = LocalFolder | HubFetch | ListedFetch

ResolvedModel = ResolvedSource | RegistryFetch


@dataclass(frozen=True)
class ResolvedSources:
    """Sources of the base model, the adapters and the engine's program."""

    model: ResolvedModel
    adapters: tuple[ResolvedSource, ...]
    """In the order of the spec."""
    release: Archive | None = None
    """Ollama's program; None for vLLM, whose packages are in a lock file."""


def resolve_sources(spec: ServingSpec) -> ResolvedSources:
    """Return the sources of `spec`. It makes tiny models, reads tokens, and checks local folders.

    Raises ConfigError if a folder is missing or incomplete, an adapter does not fit, or a token is missing.
    """
    model = resolve_model(spec.model.source, key="serving.model.source")
    adapters = tuple(
        resolve(adapter.source, key=f"serving.adapters[{index}].source") for index, adapter in enumerate(spec.adapters)
    )
    base = model.path if isinstance(model, LocalFolder) and spec.model.source.kind != "gguf" else None
    if base is not None:
        check_model(base, where="serving.model.source", context_tokens=spec.model.context_tokens, engine=spec.engine)
    for index, (adapter, source) in enumerate(zip(spec.adapters, adapters, strict=True)):
        if isinstance(source, LocalFolder):
            check_adapter(
                adapter,
                source.path,
                base=base,
                base_repo=model.repo if isinstance(model, HubFetch) else None,
                max_rank=spec.vllm.max_lora_rank if spec.engine == "vllm" else None,
                where=f"serving.adapters[{index}]",
            )
    release = release_archive(spec.ollama.release) if spec.engine == "ollama" else None
    return ResolvedSources(model, adapters, release)


def resolve_model(source: ModelSource, *, key: str) -> ResolvedModel:
    """Return where the files of the base model are; `key` names it in messages."""
    match source:
        case GgufSource():
            return LocalFolder(gguf_folder(source, key=key))
        case OllamaSource():
            name = source.name if "/" in source.name else f"library/{source.name}"
            return RegistryFetch(source.registry, name, source.digest)
        case _:
            return resolve(source, key=key)


def resolve(source: Source, *, key: str) -> ResolvedSource:
    """Return where the files of one source are; `key` names it in messages."""
    match source:
        case TinySource():
            tiny = make_tiny_model(source.name)
            return LocalFolder(tiny.base if source.adapter is None else tiny.adapter(source.adapter))
        case FolderSource():
            path = full_path(source.path)
            if not path.is_dir():
                raise ConfigError(
                    f"there is no folder {source.path}",
                    where=f"{key}.path",
                    hint="relative paths start at the checkout",
                )
            check_below(path)
            if source.sha256 is not None:
                check_listed(path, source.sha256, key=key)
            return LocalFolder(path)
        case HubSource():
            secret = source.mirror.token if source.mirror else source.token
            endpoint = source.mirror.url.rstrip("/") if source.mirror else ""
            return HubFetch(source.repo, source.revision, secret.read() if secret else None, endpoint)
        case BucketSource():
            handed = source.credentials == "handed"
            return ListedFetch(source.url, source.sha256, by_host=not handed, by_login=handed)
        case HttpsSource():
            token = {"LLM_FETCH_TOKEN": source.token.read()} if source.token else {}
            return ListedFetch(source.url, source.sha256, token)
