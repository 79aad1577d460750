"""What is served: engine, base model, adapters and gateway.

A value of the stack config that travels unchanged to the outputs and into the roles. Knows no host and no cloud.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from core.secret import SecretRef

ServedName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""A model name as clients write it: lower case, digits, `.`, `_`, `-`."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

Revision = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
"""A full commit hash: a branch or tag may move, and what was tested would not be what is served."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HubSource(_Frozen):
    """A repository of the Hugging Face hub at a pinned revision."""

    kind: Literal["hub"]
    repo: str = Field(
        pattern=r"^[\w.-]+/[\w.-]+$", description="Repository, e.g. LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct."
    )
    revision: Revision = Field(description="Full commit hash of 40 hex digits.")
    token: SecretRef | None = Field(default=None, description="Where the read token of a gated repository is kept.")


class FolderSource(_Frozen):
    """A folder on the controlling machine, copied to the host and checked file by file."""

    kind: Literal["folder"]
    path: Path = Field(description="Folder with config.json and weights; relative paths start at the checkout.")


class TinySource(_Frozen):
    """Random weights that tools/tiny_model.py makes: nothing sensible is answered, everything else is real."""

    kind: Literal["tiny"]
    name: Literal["llama", "exaone"] = Field(description="The shape of the model.")
    adapter: Literal["a", "b"] | None = Field(default=None, description="One of its adapters; none for the base model.")


Source = Annotated[HubSource | FolderSource | TinySource, Field(discriminator="kind")]


class ModelSpec(_Frozen):
    """The base model."""

    name: ServedName = Field(description="Name under which clients ask for the base model.")
    source: Source
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Type of weights and activations."
    )
    quantization: Literal["awq", "gptq", "fp8"] | None = Field(
        default=None, description="How the weights are quantised (vLLM)."
    )
    context_tokens: int = Field(default=4096, ge=64, le=1_048_576, description="Longest prompt plus answer, in tokens.")
    trust_remote_code: bool = Field(
        default=False, description="Run Python code that comes with the model. Read it first."
    )
    accept_licence: str | None = Field(
        default=None, description="Name of the model's licence, where the project asks for it."
    )


class AdapterSpec(_Frozen):
    """One LoRA adapter of the base model."""

    name: ServedName = Field(description="Alias under which clients ask for it, e.g. contract.")
    version: int = Field(default=1, ge=1, description="Version; the adapter is also served as name@version, for ever.")
    source: Source
    sha256: Sha256 | None = Field(default=None, description="SHA-256 of adapter_model.safetensors.")
    rank: int = Field(default=8, ge=1, le=512, description="LoRA rank, as in adapter_config.json.")

    @property
    def versioned_name(self) -> str:
        """The immutable served name, e.g. `contract@3`."""
        return f"{self.name}@{self.version}"


class VllmSpec(_Frozen):
    """How vLLM runs. Its port is on loopback only."""

    port: int = Field(default=8000, ge=1024, le=65535, description="Port on 127.0.0.1.")
    max_lora_rank: Literal[1, 8, 16, 32, 64, 128, 256, 320, 512] = Field(
        default=16, description="Largest adapter rank that fits."
    )
    kv_cache_gib: float = Field(default=1.0, gt=0, le=1024, description="KV cache on a CPU host, in GiB of RAM.")
    gpu_memory_fraction: float = Field(
        default=0.9, gt=0, le=0.98, description="Share of each GPU's memory that vLLM takes."
    )
    max_sequences: int = Field(default=16, ge=1, le=4096, description="Requests computed at the same time.")
    eager: bool = Field(default=False, description="Skip graph capture and compilation: starts sooner, answers slower.")
    memory_max_gib: float | None = Field(
        default=None, gt=0, description="Memory limit of the unit; none: the host's, less 1 GiB."
    )


class OllamaSpec(_Frozen):
    """How Ollama runs. Its port is on loopback only."""

    port: int = Field(default=11434, ge=1024, le=65535, description="Port on 127.0.0.1.")
    num_parallel: int = Field(default=1, ge=1, le=64, description="Requests per model at the same time.")
    max_queue: int = Field(default=64, ge=1, le=4096, description="Requests that wait inside Ollama.")
    keep_alive: str = Field(
        default="-1", pattern=r"^(-1|\d+[smh])$", description="How long a model stays loaded; -1: for ever."
    )
    native_api: bool = Field(
        default=False, description="Let the gateway pass /api/chat, /api/generate and /api/tags too."
    )


class ServingSpec(_Frozen):
    """Engine, base model and adapters."""

    engine: Literal["vllm", "ollama"] = Field(default="vllm", description="Program that computes the answers.")
    model: ModelSpec
    adapters: tuple[AdapterSpec, ...] = Field(default=(), description="LoRA adapters, chosen per request by `model`.")
    vllm: VllmSpec = VllmSpec()
    ollama: OllamaSpec = OllamaSpec()
    ready_timeout_s: int = Field(
        default=900, ge=10, le=7200, description="How long a start may take until the first token."
    )
    drain_s: int = Field(default=30, ge=0, le=600, description="How long a stop waits for running requests.")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [self.model.name, *(adapter.name for adapter in self.adapters)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two models are called {name!r}; give each model and adapter a name of its own")
        return self

    @model_validator(mode="after")
    def _ranks_fit(self) -> Self:
        for index, adapter in enumerate(self.adapters):
            if self.engine == "vllm" and adapter.rank > self.vllm.max_lora_rank:
                raise ValueError(
                    f"adapters[{index}].rank {adapter.rank} is above vllm.max_lora_rank {self.vllm.max_lora_rank}; "
                    f"raise max_lora_rank or use a smaller adapter"
                )
        return self

    @property
    def port(self) -> int:
        """The engine's port on loopback."""
        return self.vllm.port if self.engine == "vllm" else self.ollama.port

    @property
    def served_names(self) -> tuple[str, ...]:
        """Every name that /v1/models lists: base model, then each adapter's alias and immutable name."""
        return (self.model.name, *(n for a in self.adapters for n in (a.name, a.versioned_name)))


class ProjectCa(_Frozen):
    """The gateway's certificate comes from a CA of this checkout."""

    kind: Literal["project_ca"] = "project_ca"
    days: int = Field(
        default=90,
        ge=2,
        le=398,
        description="How long a certificate is valid; renewed by `provision` in its last third.",
    )


class TlsFiles(_Frozen):
    """The gateway's certificate comes from files of the user's."""

    kind: Literal["files"]
    certificate: Path = Field(description="PEM: the server's certificate, then the chain.")
    key: Path = Field(description="PEM: the private key, mode 0600.")
    ca: Path | None = Field(default=None, description="PEM: the CA that clients should trust; none: the system's.")


class GatewaySpec(_Frozen):
    """HAProxy in front of the engine: TLS, keys, allow-list, queue."""

    port: int = Field(default=443, ge=1, le=65535, description="HTTPS port that clients use.")
    hostnames: tuple[str, ...] = Field(
        default=(), description="DNS names in the certificate, beside the host's address."
    )
    tls: Annotated[ProjectCa | TlsFiles, Field(discriminator="kind")] = ProjectCa()
    clients: tuple[ServedName, ...] = Field(
        default=("default",), min_length=1, description="One API key is made for each name."
    )
    max_concurrency: int = Field(
        default=16, ge=1, le=4096, description="Requests passed to the engine at the same time."
    )
    max_queue: int = Field(default=64, ge=0, le=65536, description="Requests that wait; the next one gets 429.")
    queue_timeout_s: int = Field(default=30, ge=1, le=600, description="How long a request waits; then it gets 429.")
    request_timeout_s: int = Field(
        default=600, ge=5, le=7200, description="How long an answer may pause between two bytes."
    )
    max_body_kib: int = Field(default=1024, ge=1, le=65536, description="Largest request body, in KiB.")

    @model_validator(mode="after")
    def _clients_differ(self) -> Self:
        if len(set(self.clients)) != len(self.clients):
            raise ValueError("clients names someone twice; write each client once")
        return self
