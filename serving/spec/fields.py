"""The fields of `serving` in a stack file: their types and models.

Rules that join several fields are in rules.py.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from core.frozen import Frozen
from core.rules import Problem, Sha256, matching, refuse
from core.secret import SecretRef
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
"""A model name as clients write it."""

Revision = Annotated[
    str, matching(r"[0-9a-f]{40}", "is not a full commit hash; write all 40 hex digits, as a branch or tag may move")
]
"""A full commit hash: with a branch or tag, what was tested would not be what is served."""

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
    """A server that answers as the Hugging Face hub does, e.g. one of your own network."""

    url: MirrorUrl = Field(description="Where it is, https:// only: what HF_ENDPOINT would name.")
    token: SecretRef | None = Field(default=None, description="Where a read token for the mirror is kept.")


class HubSource(Frozen):
    """A repository of the Hugging Face hub at a pinned revision."""

    kind: Literal["hub"] = Field(description="hub: a repository of the Hugging Face hub.")
    repo: Repository = Field(description="Repository, e.g. LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct.")
    revision: Revision = Field(description="Full commit hash of 40 hex digits.")
    token: SecretRef | None = Field(default=None, description="Where the read token of a gated repository is kept.")
    mirror: HubMirror | None = Field(
        default=None, description="Server to fetch from in place of huggingface.co: a mapping with url and token."
    )

    @model_validator(mode="after")
    def _token_has_one_server(self) -> Self:
        refuse(
            [Problem("token", "is for huggingface.co, which `mirror` replaces", "write mirror.token if it is for that")]
            if self.mirror and self.token
            else []
        )
        return self


class FolderSource(Frozen):
    """A folder on the controlling machine, copied to the host and checked file by file."""

    kind: Literal["folder"] = Field(description="folder: a folder on this computer.")
    path: Path = Field(description="Folder with config.json and weights; relative paths start at the checkout.")
    sha256: Sha256 | None = Field(default=None, description=f"{LIST_HELP.rstrip('.')}; none: whatever lies there.")


class TinySource(Frozen):
    """Random weights that tools/tiny_model makes: nothing sensible is answered, everything else is real."""

    kind: Literal["tiny"] = Field(description="tiny: random weights, made here.")
    name: Literal["llama", "exaone"] = Field(description="The shape of the model.")
    adapter: Literal["a", "b"] | None = Field(default=None, description="One of its adapters; none for the base model.")


Source = Annotated[HubSource | BucketSource | HttpsSource | FolderSource | TinySource, Field(discriminator="kind")]

ModelSource = Annotated[
    HubSource | BucketSource | HttpsSource | FolderSource | TinySource | OllamaSource | GgufSource,
    Field(discriminator="kind"),
]


class ModelSpec(Frozen):
    """The base model."""

    name: ServedName = Field(description="Name under which clients ask for the base model.")
    source: ModelSource = Field(
        description="Where it comes from: a mapping with kind hub, s3, gs, https, folder, tiny, ollama or gguf."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Type of weights and activations."
    )
    quantization: Literal["awq", "gptq", "fp8"] | None = Field(
        default=None, description="How the weights are quantised (vLLM)."
    )
    context_tokens: int = Field(default=4096, ge=64, le=1_048_576, description="Longest prompt plus answer, in tokens.")
    trust_remote_code: StrictBool = Field(
        default=False, description="Run Python code that comes with the model. Read it first."
    )
    licence: LicenceName | None = Field(
        default=None,
        description="Name of the model's licence, e.g. apache-2.0: for `make status` and a bundle's bill of materials.",
    )
    accept_licence: LicenceName | None = Field(
        default=None, description="The same, to accept one that forbids commercial use, where the project asks for it."
    )

    @property
    def licence_name(self) -> str:
        """The name of the licence, accepted or only told; empty when nobody told."""
        return self.accept_licence or self.licence or ""


class AdapterSpec(Frozen):
    """One LoRA adapter of the base model."""

    name: ServedName = Field(description="Alias under which clients ask for it, e.g. contract.")
    version: int = Field(
        default=1, ge=1, description="Version; also served as name@version (Ollama: name:version), for ever."
    )
    source: Source = Field(description="Where it comes from: a mapping with kind hub, s3, gs, https, folder or tiny.")
    sha256: Sha256 | None = Field(default=None, description="SHA-256 of adapter_model.safetensors.")
    rank: int = Field(default=8, ge=1, le=512, description="LoRA rank, as in adapter_config.json.")
    target_modules: tuple[ModuleName, ...] = Field(
        default=(), description="Modules that it changes, as in adapter_config.json; none: not compared."
    )
    base: Repository | None = Field(
        default=None,
        description="Repository that its adapter_config.json names as the base, where that is another name of `model`: "
        "a renamed or mirrored repository. Overrules the comparison of names; tensors are still compared.",
    )
    promoted: StrictBool = Field(
        default=True, description="Whether `name` alone means this version; of several versions exactly one does."
    )

    @property
    def versioned_name(self) -> str:
        """The immutable served name, e.g. `contract@3`."""
        return f"{self.name}@{self.version}"


class VllmSpec(Frozen):
    """How vLLM runs. Its port is on loopback only."""

    port: int = Field(default=8000, ge=1024, le=65535, description="Port on 127.0.0.1.")
    max_lora_rank: Literal[1, 8, 16, 32, 64, 128, 256, 320, 512] = Field(
        default=16, description="Largest adapter rank that fits."
    )
    adapter_slots: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Adapter versions computed at the same time; each takes room beside the weights, used or not.",
    )
    kv_cache_gib: float = Field(default=1.0, gt=0, le=1024, description="KV cache on a CPU host, in GiB of RAM.")
    gpu_memory_fraction: float = Field(
        default=0.9, gt=0, le=0.98, description="Share of each GPU's memory that vLLM takes."
    )
    max_sequences: int = Field(default=16, ge=1, le=4096, description="Requests computed at the same time.")
    max_answers: int = Field(
        default=16,
        ge=1,
        le=1024,
        description="Answers that one request may ask for: `n`, the width of a beam search, and prompts times `n`.",
    )
    max_constraint_kib: int = Field(
        default=64,
        ge=1,
        le=1024,
        description="Largest schema, regex, grammar or set of tools that an answer may be held to, in KiB.",
    )
    tool_call_parser: str | None = Field(
        default=None, description="How the model writes its calls of tools, e.g. hermes; turns on `tool_choice: auto`."
    )
    reasoning_parser: str | None = Field(
        default=None, description="How the model marks its reasoning, e.g. qwen3; it is answered apart from the text."
    )
    chat_template: Path | None = Field(
        default=None, description="Jinja file on this computer in place of the model's own chat template."
    )
    extra_args: tuple[str, ...] = Field(
        default=(),
        max_length=32,
        description="Further options of vLLM, one word each, e.g. --kv-cache-dtype=fp8; only those that open no door.",
    )
    eager: StrictBool = Field(
        default=False, description="Skip graph capture and compilation: starts sooner, answers slower."
    )
    memory_max_gib: float | None = Field(
        default=None, gt=0, le=4096, description="Memory limit of the unit; none: the host's, less 1 GiB."
    )


class ServingFields(Frozen):
    """The fields of `serving`, without the rules that join several of them: see ServingSpec."""

    engine: Literal["vllm", "ollama"] = Field(default="vllm", description="Program that computes the answers.")
    model: ModelSpec = Field(description="The base model: a mapping with name, source and more.")
    adapters: tuple[AdapterSpec, ...] = Field(default=(), description="LoRA adapters, chosen per request by `model`.")
    aliases_by: Literal["provision", "promote"] = Field(
        default="provision",
        description="What moves an adapter's name to another version: `provision`, to what is `promoted` here, or "
        "`make adapters DO=promote` alone. A manifest of the stack's adapters sets it to promote.",
    )
    vllm: VllmSpec = Field(default=VllmSpec(), description="How vLLM runs.")
    ollama: OllamaSpec = Field(default=OllamaSpec(), description="How Ollama runs.")
    ready_timeout_s: int = Field(
        default=900, ge=10, le=7200, description="How long a start may take until the first token."
    )
    drain_s: int = Field(default=30, ge=0, le=600, description="How long a stop waits for running requests.")

    @property
    def port(self) -> int:
        """The engine's port on loopback."""
        return self.vllm.port if self.engine == "vllm" else self.ollama.port

    @property
    def memory_max_gib(self) -> float | None:
        """The memory limit of the engine's unit; none: what the host has, less a little."""
        return self.vllm.memory_max_gib if self.engine == "vllm" else self.ollama.memory_max_gib

    @property
    def served_names(self) -> tuple[str, ...]:
        """Every name that /v1/models lists: base model, then each adapter's alias and immutable name.

        Ollama lists names with their tag; a client may leave `:latest` out.
        """
        names = (n for a in self.adapters for n in (self.alias_of(a), self.immutable_name_of(a)))
        return (self.with_tag(self.model.name), *dict.fromkeys(names))

    def immutable_name_of(self, adapter: AdapterSpec) -> str:
        """Return the served name that means one version for ever: `contract@3`, or `contract:3` as Ollama has no @."""
        return adapter.versioned_name if self.engine == "vllm" else f"{adapter.name}:{adapter.version}"

    def alias_of(self, adapter: AdapterSpec) -> str:
        """Return the served name that moves from version to version."""
        return self.with_tag(adapter.name)

    def with_tag(self, name: str) -> str:
        """Return `name` as the engine lists it."""
        return name if self.engine == "vllm" else f"{name}:latest"
