"""Sources of Ollama's program and of the models that only Ollama reads. Fetches nothing, but may build the program."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from catalog.ollama_releases import ARCHIVE_URL, PINNED
from core.errors import ConfigError
from core.files import only_link
from core.paths import cache_dir, full_path
from serving.spec.ollama import ArchiveRelease, BuiltRelease, GgufSource, OllamaRelease, PinnedRelease


@dataclass(frozen=True)
class RegistryFetch:
    """A model of a registry. The host fetches it and checks the digest of its manifest."""

    registry: str
    name: str
    """Name with owner: `library/llama3.2:3b`."""
    digest: str

    @property
    def fetch_arguments(self) -> tuple[str, str]:
        """Arguments of the fetch program: source and pin."""
        return (f"ollama+{self.registry}/{self.name}", self.digest)

    @property
    def environment(self) -> dict[str, SecretStr]:
        """No secrets: only public models are fetched."""
        return {}


@dataclass(frozen=True)
class Archive:
    """A release archive of Ollama: at a URL, or in a folder of this computer."""

    version: str
    sha256: str
    url: str = ""
    folder: Path | None = None
    """Folder with the archive and nothing else."""
    name: str = ""
    """Name of the archive in the folder."""


def gguf_folder(source: GgufSource, *, key: str) -> Path:
    """Return a folder with only this file, as `model.gguf`, so that it is sent like any model.

    Raises ConfigError if there is no such file. The host checks the checksum of the copy.
    """
    path = full_path(source.path)
    if not path.is_file():
        raise ConfigError(
            f"there is no file {source.path}", where=f"{key}.path", hint="relative paths start at the checkout"
        )
    folder = cache_dir() / "gguf" / source.sha256
    only_link(folder, "model.gguf", path)
    return folder


def release_archive(release: OllamaRelease) -> Archive:
    """Return the archive of a release. With kind build, it is built now if it is missing."""
    match release:
        case PinnedRelease():
            url = ARCHIVE_URL.format(version=release.version)
            return Archive(release.version, PINNED[release.version], url=url)
        case ArchiveRelease():
            return Archive(release.version, release.sha256, url=release.url)
        case BuiltRelease():
            from tools.ollama import built_archive  # only if the stack file says build

            built = built_archive()
            return Archive(built.version, built.sha256, folder=built.folder, name=built.path.name)
