"""Causes and hints, from journals of engines that did fail like this (tests/data/journals), and from words of vLLM's
source where no GPU is available."""

import pytest

from core.paths import CHECKOUT
from provisioning.apply.diagnosis import KNOWN, Diagnosis, diagnose

JOURNALS = CHECKOUT / "tests" / "data" / "journals"

REAL = {
    "adapter-missing": (
        "No such file or directory: '/var/lib/llm/adapters/contract@1",
        "the adapter's files are missing",
    ),
    "adapter-no-weights": ("contract@1 doesn't contain tensors", "the adapter's files are missing"),
    "adapter-other-base-modules": ("expected target modules in", "trained on another base model"),
    "adapter-rank": ("ValueError: LoRA rank 64 is greater than max_lora_rank 8.", "raise vllm.max_lora_rank"),
    "awq-not-awq": ("Cannot find the config file for awq", "model.quantization"),
    "context-too-long": ("User-specified max_model_len (100000) is greater than", "lower model.context_tokens"),
    "fp8-on-cpu": ("_C::static_scaled_fp8_quant()", ""),
    "kv-cache-too-small": ("larger than the available KV cache memory", "raise vllm.kv_cache_gib"),
    "memory-kv-cache": (
        "is less than requested memory for kv (4096.0 GiB)",
        "too little memory: lower vllm.kv_cache_gib",
    ),
    "memory-weights": ("Failed core proc(s): {'EngineCore': -9}", "the engine was killed"),
    "model-missing": ("Repo id must be in the form", "the model's folder is missing"),
    "no-config": ("Invalid repository ID or local directory specified", "has no config.json"),
    "no-tokenizer": ("Couldn't instantiate the backend tokenizer", "tokenizer.json"),
    "no-weights": ("Cannot find any model weights with", "weights are missing or cut off"),
    "port-taken": ("OSError: [Errno 98] Address already in use", "another program has the port"),
    "trust-remote-code": ("Please pass the argument `trust_remote_code=True`", "model.trust_remote_code: true"),
    "unknown-model-type": ("has model type `foo` but", "does not know the model's architecture"),
    "unknown-option": ("unrecognized arguments: --no-such-option", "does not know one of its options"),
    "unreadable": ("FileNotFoundError: No such file or directory: /var/lib/llm/models/tiny-llama/model", "weights are"),
    "unsupported-architecture": (
        "Model architectures ['FooForCausalLM'] are not",
        "does not know the model's architecture",
    ),
    "weights-cut-off": ("incomplete metadata, file not fully covered", "weights are missing or cut off"),
    "weights-lfs-pointer": ("Error while deserializing header", "weights are missing or cut off"),
    "weights-other-shape": ("The size of tensor a (256) must match the size of tensor b (128)", ""),
}

SAID = {
    "bfloat16 on a T4": (
        "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU has "
        "compute capability 7.5. You can use float16 instead by explicitly setting the `dtype` flag in CLI, for "
        "example: --dtype=half.",
        "write model.dtype: float16",
    ),
    "port of Ollama": (
        "Error: listen tcp 127.0.0.1:11434: bind: address already in use",
        "another program has the port",
    ),
    "memory for Ollama": (
        "Error: model requires more system memory (9.3 GiB) than is available (2.9 GiB)",
        "the host has too little memory: lower model.context_tokens or ollama.num_parallel",
    ),
    "architecture for Ollama": (
        "llama_model_load: error loading model: error loading model architecture: unknown model architecture: 'foo'",
        "this release of Ollama does not know",
    ),
    "seven GPUs": (
        "ValueError: Total number of attention heads (32) must be divisible by tensor parallel size (7).",
        "the model does not divide by the number of GPUs: write a smaller gpu.count",
    ),
    "memory of the GPU": (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 224.00 MiB. GPU 0 has a total capacity of 21.96 "
        "GiB of which 187.75 MiB is free.",
        "the GPU has too little memory",
    ),
    "no room for a KV cache": (
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when "
        "initializing the engine.",
        "the GPU has too little memory",
    ),
    "memory that another program holds": (
        "ValueError: Free memory on device cuda:0 (3.1/21.96 GiB) on startup is less than desired GPU memory "
        "utilization (0.9, 19.76 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
        "another program holds the GPU's memory",
    ),
    "no fabric": (
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized",
        "the NVLink switches have not joined the GPUs",
    ),
    "no driver": ("RuntimeError: No CUDA GPUs are available", "the NVIDIA driver is missing or too old"),
    "old driver": (
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12020).",
        "the NVIDIA driver is missing or too old",
    ),
    "a gated model": (
        "huggingface_hub.errors.GatedRepoError: 401 Client Error.",
        "accept the model's licence on the hub, and set model.source.token",
    ),
    "a library": (
        "ImportError: libnuma.so.1: cannot open shared object file: No such file or directory",
        "a library is missing on the host",
    ),
    "a full disk": ("OSError: [Errno 28] No space left on device", "the disk is full"),
}

FOLLOWED_BY = """
(EngineCore pid=99) ERROR 11-21 13:22:14 [core.py:1510] EngineCore failed to start.
(EngineCore pid=99) ERROR 11-21 13:22:14 [core.py:1510] Traceback (most recent call last):
(EngineCore pid=99) ERROR 11-21 13:22:14 [core.py:1510]   File "/x/vllm/v1/engine/core.py", line 1482, in run
(EngineCore pid=99) ERROR 11-21 13:22:14 [core.py:1510]     raise
(EngineCore pid=99) ERROR 11-21 13:22:14 [core.py:1510] {}
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{}}
vllm.service: Failed with result 'exit-code'.
"""


def journal(name: str) -> str:
    return (JOURNALS / f"{name}.txt").read_text()


def test_every_journal_has_a_case() -> None:
    assert {path.stem for path in JOURNALS.glob("*.txt")} == set(REAL)


@pytest.mark.parametrize("name", REAL)
def test_causes_of_real_journals(name: str) -> None:
    cause, hint = REAL[name]
    found = diagnose(journal(name))
    assert cause in found.cause
    assert hint in found.hint
    assert bool(hint) == bool(found.hint)


@pytest.mark.parametrize("name", SAID)
def test_causes_in_the_engines_words(name: str) -> None:
    line, hint = SAID[name]
    found = diagnose(FOLLOWED_BY.format(line))
    assert found.cause == line[:299] + "…" * (len(line) > 300)
    assert found.hint.startswith(hint)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("prefix", ["Nov 21 13:12:49 box python[99]: ", "[ 3809.195260] box python[99]: "])
def test_the_format_of_the_journal_does_not_matter(name: str, prefix: str) -> None:
    text = "".join(f"{prefix}{line}\n" for line in journal(name).splitlines())
    assert diagnose(text) == diagnose(journal(name))


def test_out_of_memory_kill_is_found_in_systemds_lines() -> None:
    text = """\
vllm.service: A process of this unit has been killed by the OOM killer.
vllm.service: Main process exited, code=killed, status=9/KILL
vllm.service: Failed with result 'oom-kill'.
"""
    assert diagnose(text).hint.startswith("the host has too little memory")


def test_the_last_start_counts() -> None:
    assert diagnose(journal("port-taken") + journal("adapter-rank")) == diagnose(journal("adapter-rank"))


def test_a_start_that_has_only_begun_hides_no_error() -> None:
    assert diagnose(journal("port-taken") + "Starting vllm.service - vLLM serving tiny...\n") == diagnose(
        journal("port-taken")
    )


def test_unknown_error_has_no_hint() -> None:
    found = diagnose(FOLLOWED_BY.format("acme.errors.StrangeError: something new"))
    assert found == Diagnosis("acme.errors.StrangeError: something new", "")


@pytest.mark.parametrize(
    "text", ["", "Starting vllm.service - vLLM serving tiny...\n(APIServer pid=9) INFO all is well\n"]
)
def test_journal_without_an_error_has_no_cause(text: str) -> None:
    assert diagnose(text) == Diagnosis("", "")


def test_options_listed_at_the_start_are_not_the_cause() -> None:
    line = "(APIServer pid=9) INFO 11-21 13:12:49 [api_utils.py:286] non-default args: {'trust_remote_code': True}\n"
    assert diagnose(line) == Diagnosis("", "")


def test_hints_fit_behind_a_cause() -> None:
    assert [known.hint for known in KNOWN if "\n" in known.hint or known.hint.endswith(".")] == []
