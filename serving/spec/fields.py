"""The fields of `serving` in a stack file: their types and models.

Rules that join several fields are in rules.py.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from core.reading.frozen import Frozen
from core.reading.rules import Problem, Sha256, matching, refuse
from core.reading.secret import SecretRef
from serving.spec.ollama import GgufSource, OllamaSource, OllamaSpec
from serving.spec.remote_sources import LIST_HELP, BucketSource, HttpsSource

ServedName = Annotated[
    str,
    matching(
        r"[a-z0-9][a-z0-9._-]{0,62}",
        "is not a valid name; "
        "write lower-case letters, digits, `.`, `_`, `-`, at most 63, starting with a letter or digit",
    ),
]
"""A model's name, as clients write it."""

Revision = Annotated[
    str, matching(r"[0-9a-f]{40}", "is not a full commit hash; write all 40 hex digits, as a branch or tag may move")
]
"""A full commit hash. A branch or tag could serve other files than those that were tested."""

Repository = Annotated[
    str,
    matching(
        r"[\w-][\w.-]*/[\w-][\w.-]*",
        "is not a repository; write owner/name without https://, e.g. LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct",
    ),
]

ModuleName = Annotated[str, matching(r"[A-Za-z0-9_]+", "is not a module name; write its last part, e.g. q_proj")]

LicenceName = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9.+-]{0,62}",
        "is not a licence name; write letters, digits, `.`, `+` and -, as SPDX does, e.g. apache-2.0",
    ),
]


MirrorUrl = Annotated[
    str,
    matching(
        r"https://[\w.-]+(:\d+)?(/[\w.@=+~-]+)*/?",
        "is not the address of a mirror; write https://server or https://server/path, without a query or a login",
    ),
]


class HubMirror(Frozen):
    """A server with the API of the Hugging Face hub, e.g. in your own network."""

    url: MirrorUrl = Field(description="Its address, https:// only, as in HF_ENDPOINT.")
    token: SecretRef | None = Field(default=None, description="Where a read token for the mirror is stored.")


class HubSource(Frozen):
    """A repository of the Hugging Face hub, at a pinned revision."""

    kind: Literal["hub"] = Field(description="hub: a repository of the Hugging Face hub.")
    repo: Repository = Field(description="Repository, e.g. LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct.")
    revision: Revision = Field(description="Full commit hash of 40 hex digits.")
    token: SecretRef | None = Field(default=None, description="Where the read token of a gated repository is stored.")
    mirror: HubMirror | None = Field(
        default=None, description="Server to use instead of huggingface.co: a mapping with url and token."
    )

    @model_validator(mode="after")
    def _token_has_one_server(self) -> Self:
        refuse(
            [
                Problem(
                    "token",
                    "is for huggingface.co, which `mirror` replaces",
                    "write mirror.token for a token of the mirror",
                )
            ]
            if self.mirror and self.token
            else []
        )
        return self


class FolderSource(Frozen):
    """A folder on the controller, copied to the host and checked file by file."""

    kind: Literal["folder"] = Field(description="folder: a folder on this computer.")
    path: Path = Field(description="Folder with config.json and weights; relative paths start at the checkout.")
    sha256: Sha256 | None = Field(default=None, description=f"{LIST_HELP} If missing, the files are not checked.")


class TinySource(Frozen):
    """Random weights from tools/tiny_model: the answers make no sense, everything else is real."""

    kind: Literal["tiny"] = Field(description="tiny: random weights, generated on this computer.")
    name: Literal["llama", "exaone"] = Field(description="The shape of the model.")
    adapter: Literal["a", "b"] | None = Field(
        default=None, description="One of its adapters. Leave it out for the base model."
    )


Source = Annotated[HubSource | BucketSource | HttpsSource | FolderSource | TinySource, Field(discriminator="kind")]

ModelSource = Annotated[
    HubSource | BucketSource | HttpsSource | FolderSource | TinySource | OllamaSource | GgufSource,
    Field(discriminator="kind"),
]


class ModelSpec(Frozen):
    """The base model."""

    name: ServedName = Field(description="Name that clients write to get the base model.")
    source: ModelSource = Field(
        description="Where it comes from: a mapping with kind hub, s3, gs, https, folder, tiny, ollama or gguf."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Type of weights and activations."
    )
    quantization: Literal["awq", "gptq", "fp8"] | None = Field(
        default=None, description="Quantisation of the weights (vLLM)."
    )
    context_tokens: int = Field(
        default=4096, ge=64, le=1_048_576, description="Most tokens in prompt and answer together."
    )
    trust_remote_code: StrictBool = Field(
        default=False, description="Run the Python code in the model's repository. Read it first."
    )
    licence: LicenceName | None = Field(
        default=None,
        description="Name of the model's licence, e.g. apache-2.0. "
        "`make status` and the bill of materials of a bundle show it.",
    )
    accept_licence: LicenceName | None = Field(
        default=None, description="The same name, to accept a licence that forbids commercial use. Required for EXAONE."
    )

    @property
    def licence_name(self) -> str:
        """The name of the licence, accepted or not; empty if the file has none."""
        return self.accept_licence or self.licence or ""


class AdapterSpec(Frozen):
    """One LoRA adapter of the base model."""

    name: ServedName = Field(description="Alias that clients write to get it, e.g. contract.")
    version: int = Field(
        default=1, ge=1, description="Version, always served as name@version (Ollama: name:version) too."
    )
    source: Source = Field(description="Where it comes from: a mapping with kind hub, s3, gs, https, folder or tiny.")
    sha256: Sha256 | None = Field(default=None, description="SHA-256 of adapter_model.safetensors.")
    rank: int = Field(default=8, ge=1, le=512, description="LoRA rank, as in adapter_config.json.")
    target_modules: tuple[ModuleName, ...] = Field(
        default=(), description="Modules that it changes, as in adapter_config.json. If empty, they are not compared."
    )
    base: Repository | None = Field(
        default=None,
        description="Base model in its adapter_config.json, if that is another name of `model`, e.g. of a renamed or "
        "mirrored repository. It replaces the comparison of names; tensors are still compared.",
    )
    promoted: StrictBool = Field(
        default=True,
        description="Whether `name` alone means this version. Exactly one version of a name must be promoted.",
    )

    @property
    def versioned_name(self) -> str:
        """The served name that never moves, e.g. `contract@3`."""
        return f"{self.name}@{self.version}"


class VllmSpec(Frozen):
    """How vLLM runs. It listens on loopback only."""

    port: int = Field(default=8000, ge=1024, le=65535, description="Port on 127.0.0.1.")
    max_lora_rank: Literal[1, 8, 16, 32, 64, 128, 256, 320, 512] = Field(
        default=16, description="Largest rank of an adapter."
    )
    adapter_slots: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Adapter versions in use at the same time. Each takes memory beside the weights, in use or not.",
    )
    kv_cache_gib: float = Field(default=1.0, gt=0, le=1024, description="KV cache on a CPU host, in GiB of RAM.")
    gpu_memory_fraction: float = Field(
        default=0.9, gt=0, le=0.98, description="Share of each GPU's memory that vLLM uses."
    )
    max_sequences: int = Field(default=16, ge=1, le=4096, description="Requests computed at the same time.")
    max_answers: int = Field(
        default=16,
        ge=1,
        le=1024,
        description="Most answers to one request: `n`, the width of a beam search, and prompts times `n`.",
    )
    max_constraint_kib: int = Field(
        default=64,
        ge=1,
        le=1024,
        description="Largest schema, regex, grammar or set of tools in a request, in KiB.",
    )
    tool_call_parser: str | None = Field(
        default=None, description="Format of the model's tool calls, e.g. hermes. It turns on `tool_choice: auto`."
    )
    reasoning_parser: str | None = Field(
        default=None,
        description="Format of the model's reasoning, e.g. qwen3. Answers then have it in a field of its own.",
    )
    chat_template: Path | None = Field(
        default=None, description="Jinja file on this computer that replaces the model's chat template."
    )
    extra_args: tuple[str, ...] = Field(
        default=(),
        max_length=32,
        description="More options of vLLM, one word each, e.g. --kv-cache-dtype=fp8. Unsafe ones are refused.",
    )
    eager: StrictBool = Field(
        default=False, description="Skip graph capture and compilation: vLLM starts sooner and answers more slowly."
    )
    memory_max_gib: float | None = Field(
        default=None, gt=0, le=4096, description="Memory limit of the unit. Default: the host's memory minus 1 GiB."
    )


class ServingFields(Frozen):
    """The fields of `serving`, without the rules that join several of them: see ServingSpec."""

    engine: Literal["vllm", "ollama"] = Field(default="vllm", description="Program that computes answers.")
    model: ModelSpec = Field(description="The base model: a mapping with name, source and more.")
    adapters: tuple[AdapterSpec, ...] = Field(default=(), description="LoRA adapters, chosen per request by `model`.")
    aliases_by: Literal["provision", "promote"] = Field(
        default="provision",
        description="What moves an adapter's name to another version. provision: to the one that is `promoted` here. "
        "promote: only `make adapters DO=promote` does; a manifest of adapters sets this.",
    )
    vllm: VllmSpec = Field(default=VllmSpec(), description="How vLLM runs.")
    ollama: OllamaSpec = Field(default=OllamaSpec(), description="How Ollama runs.")
    ready_timeout_s: int = Field(default=900, ge=10, le=7200, description="Limit for a start, up to the first token.")
    drain_s: int = Field(default=30, ge=0, le=600, description="Time that a stop waits for running requests.")

    @property
    def port(self) -> int:
        """The engine's port on loopback."""
        return self.vllm.port if self.engine == "vllm" else self.ollama.port

    @property
    def memory_max_gib(self) -> float | None:
        """The memory limit of the engine's unit; None if the file sets none."""
        return self.vllm.memory_max_gib if self.engine == "vllm" else self.ollama.memory_max_gib

    @property
    def served_names(self) -> tuple[str, ...]:
        """Every name in /v1/models: the base model, then alias and immutable name of each adapter.

        Ollama lists names with their tag. A client may leave out `:latest`.
        """
        names = (n for a in self.adapters for n in (self.alias_of(a), self.immutable_name_of(a)))
        return (self.with_tag(self.model.name), *dict.fromkeys(names))

    def immutable_name_of(self, adapter: AdapterSpec) -> str:
        """Return the served name that never moves to another version: `contract@3`, or `contract:3` with Ollama."""
        return adapter.versioned_name if self.engine == "vllm" else f"{adapter.name}:{adapter.version}"

    def alias_of(self, adapter: AdapterSpec) -> str:
        """Return the served name that moves from version to version."""
        return self.with_tag(adapter.name)

    def with_tag(self, name: str) -> str:
        """Return `name` as the engine lists it."""
        return name if self.engine == "vllm" else f"{name}:latest"
