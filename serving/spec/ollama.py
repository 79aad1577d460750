"""How Ollama runs, where its program comes from, and the model sources that only Ollama reads."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool

from catalog.ollama_releases import SAFE_FROM, version_numbers
from core.reading.frozen import Frozen
from core.reading.rules import Sha256, matching

KeepAlive = Annotated[
    str, matching(r"-1|[1-9]\d*[smh]", "is not a duration; write a number with s, m or h, e.g. 30m, or -1 for always")
]

Url = Annotated[
    str,
    matching(
        r"https?://[A-Za-z0-9.-]+(:\d{1,5})?(/[\w.~%+-]+)*",
        "is not a URL; write scheme, host and path, e.g. https://example.com/ollama-linux-amd64.tar.zst",
    ),
]
"""http:// is allowed too: each download is checked by its SHA-256."""

RegistryName = Annotated[
    str,
    matching(
        r"([\w-]+/)?[\w][\w.-]*:[\w][\w.-]*",
        "is not a model name of the Ollama registry; write name:tag or owner/name:tag, e.g. llama3.2:3b",
    ),
]


def _safe(version: str) -> str:
    if version_numbers(version) < SAFE_FROM:
        oldest = ".".join(map(str, SAFE_FROM))
        raise ValueError(f"lets anyone read the server's memory (CVE-2026-7482); write {oldest} or newer")
    return version


Version = Annotated[
    str, matching(r"\d+\.\d+\.\d+", "is not a version; write three numbers, e.g. 0.32.7"), AfterValidator(_safe)
]


class OllamaSource(Frozen):
    """A model of the Ollama registry, or of one with the same API, with the digest of its manifest."""

    kind: Literal["ollama"] = Field(description="ollama: a model of Ollama's registry.")
    name: RegistryName = Field(description="Name with tag, e.g. llama3.2:3b.")
    digest: Sha256 = Field(
        description="SHA-256 of the manifest: `curl -s REGISTRY/v2/library/NAME/manifests/TAG | sha256sum`."
    )
    registry: Url = Field(
        default="https://registry.ollama.ai",
        description="Registry to fetch from. https://hf.co has the GGUFs of the hub.",
    )


class GgufSource(Frozen):
    """A GGUF file on the controller, copied to the host."""

    kind: Literal["gguf"] = Field(description="gguf: a GGUF file on this computer.")
    path: Path = Field(description="The file; relative paths start at the checkout.")
    sha256: Sha256 = Field(description="SHA-256 of the file.")


class PinnedRelease(Frozen):
    """A release from GitHub whose checksum this project has."""

    kind: Literal["pinned"] = Field(default="pinned", description="pinned: a release whose checksum this project has.")
    version: Literal["0.32.7"] = Field(default="0.32.7", description="Its version.")


class ArchiveRelease(Frozen):
    """An archive of a release from any server, e.g. your own mirror."""

    kind: Literal["archive"] = Field(description="archive: a release from your own URL.")
    version: Version = Field(description="Its version. `ollama --version` must print the same.")
    url: Url = Field(description="URL of a .tar.zst, .tgz or .tar.gz that contains bin/ollama.")
    sha256: Sha256 = Field(description="SHA-256 of the archive.")


class BuiltRelease(Frozen):
    """A program that tools/ollama builds on the controller from Ollama's Go module; CPU only."""

    kind: Literal["build"] = Field(
        description="build: built on this computer, for use without a release server; CPU only."
    )


OllamaRelease = Annotated[PinnedRelease | ArchiveRelease | BuiltRelease, Field(discriminator="kind")]


class OllamaParameters(Frozen):
    """Sampling of a request that does not set its own. Keys that are left out have Ollama's defaults."""

    temperature: float | None = Field(default=None, ge=0, le=5, description="0: always the most likely token.")
    top_k: int | None = Field(default=None, ge=0, le=1000, description="Number of tokens to choose from.")
    top_p: float | None = Field(default=None, gt=0, le=1, description="Share of probability to choose from.")
    min_p: float | None = Field(
        default=None, ge=0, le=1, description="Lowest probability, as a share of the most likely token's."
    )
    repeat_penalty: float | None = Field(
        default=None,
        ge=0,
        le=10,
        description="Above 1, it avoids repetition. Default: that of a registry model, else 1.",
    )
    num_predict: int | None = Field(
        default=None, ge=1, le=1_048_576, description="Longest answer, in tokens. Default: the context."
    )
    seed: int | None = Field(default=None, ge=0, description="The same seed gives the same answer.")
    stop: tuple[str, ...] = Field(default=(), description="Strings that end an answer.")


class OllamaSpec(Frozen):
    """How Ollama runs. It listens on loopback only."""

    port: int = Field(default=11434, ge=1024, le=65535, description="Port on 127.0.0.1.")
    release: OllamaRelease = Field(
        default=PinnedRelease(),
        description="Where the program comes from: a mapping with kind pinned, archive or build.",
    )
    num_parallel: int = Field(default=1, ge=1, le=64, description="Requests per model at the same time.")
    max_queue: int = Field(default=64, ge=1, le=4096, description="Requests that may wait in Ollama.")
    keep_alive: KeepAlive = Field(default="-1", description="How long a model stays loaded, e.g. 30m. -1: always.")
    native_api: StrictBool = Field(
        default=False, description="Allow /api/chat, /api/generate and /api/tags at the gateway too."
    )
    prune: StrictBool = Field(default=False, description="Remove models that are not in this file from the host.")
    quantize: Literal["q8_0", "q4_k_m"] | None = Field(
        default=None, description="Quantise weights from safetensors. Default: 16 bits."
    )
    system: str | None = Field(
        default=None, description="System prompt. Default: that of the model's chat template, if it has one."
    )
    template: str | None = Field(
        default=None, description="Prompt template in Ollama's template language. Default: the model's."
    )
    parameters: OllamaParameters = Field(default=OllamaParameters(), description="Default sampling.")
    memory_max_gib: float | None = Field(
        default=None, gt=0, le=4096, description="Memory limit of the unit. Default: the host's memory minus 1 GiB."
    )
