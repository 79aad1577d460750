"""Where Ollama's program and the models that only it reads come from. Fetches nothing, but may build the program."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from catalog.ollama_releases import ARCHIVE_URL, PINNED
from core.errors import ConfigError
from core.paths import cache_dir, full_path
from serving.spec.ollama import ArchiveRelease, BuiltRelease, GgufSource, OllamaRelease, PinnedRelease


@dataclass(frozen=True)
class RegistryFetch:
    """A model of a registry, fetched by the host and checked against the digest of its manifest."""

    registry: str
    name: str
    """With its owner: `library/llama3.2:3b`."""
    digest: str

    @property
    def fetch_arguments(self) -> tuple[str, str]:
        """What the program that fetches is told: place and pin."""
        return (f"ollama+{self.registry}/{self.name}", self.digest)

    @property
    def environment(self) -> dict[str, SecretStr]:
        """The secrets that it needs: none, only public models are fetched."""
        return {}


@dataclass(frozen=True)
class Archive:
    """A release archive of Ollama: at a URL, or in a folder of this machine."""

    version: str
    sha256: str
    url: str = ""
    folder: Path | None = None
    """Holds the archive and nothing else."""
    name: str = ""
    """Its file in the folder."""


def gguf_folder(source: GgufSource, *, key: str) -> Path:
    """Return a folder that holds the file alone, as `model.gguf`, so that it travels like any model.

    Raises ConfigError when there is no such file. Its checksum is the host's to check, on what has arrived.
    """
    path = full_path(source.path)
    if not path.is_file():
        raise ConfigError(
            f"there is no file {source.path}", where=f"{key}.path", hint="relative paths start at the checkout"
        )
    folder = cache_dir() / "gguf" / source.sha256
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "model.gguf"
    if not link.is_symlink() or link.readlink() != path.resolve():
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
    return folder


def release_archive(release: OllamaRelease) -> Archive:
    """Return the archive of a release; one that is built here is built now, if it is missing."""
    match release:
        case PinnedRelease():
            url = ARCHIVE_URL.format(version=release.version)
            return Archive(release.version, PINNED[release.version], url=url)
        case ArchiveRelease():
            return Archive(release.version, release.sha256, url=release.url)
        case BuiltRelease():
            from tools.ollama import built_archive  # only where it is asked for

            built = built_archive()
            return Archive(built.version, built.sha256, folder=built.folder, name=built.path.name)
