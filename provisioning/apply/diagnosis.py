"""Why an engine did not start: the first real error of its journal, and what to do about it.

Reads text only: the unit's journal since its start, as `journalctl -u vllm.service` prints it. Queries no host.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

CAUSE_LENGTH = 300

_START = re.compile(r"^Starting .*(?:\.service|vLLM)")
"""systemd's line at the beginning of each start."""

_JOURNAL = re.compile(r"^(?:\[ *\d+\.\d+\]|[A-Z][a-z]{2} +\d+ [\d:]{8}|\d{4}-\d\d-\d\dT\S+) \S+ [^ :\[]+(?:\[\d+\])?: ")
"""The prefix that journalctl writes before a line, except with `-o cat`."""

_PROCESS = re.compile(r"^(?:\([\w-]+(?: [\w=]+)* pid=\d+\) )?(?:(?:ERROR|CRITICAL) \S+ \S+ \[[^\]]+\] )?")
"""What vLLM puts before a line: `(EngineCore pid=99) ERROR 11-21 13:12:49 [core.py:1750] `."""

_ERROR = re.compile(r"^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Failure)(?:: |$)")
"""The last line of a traceback."""

_DETAIL = re.compile(r"^  (?:Value error|Assertion failed), ")
"""Below an error of pydantic, the line that says what is wrong."""

_BEHIND = re.compile(r" \[type=\w+, input_value=.*|, retrying \d+ of \d+$")

_ABOVE_DETAIL = re.compile(r"^[\w.]*ValidationError: \d+ validation errors? for \w+$")

_CONSEQUENCES = ("Engine core initialization failed", "EngineDeadError", "EngineCore encountered an issue")
"""Errors that only follow from another one."""


@dataclass(frozen=True)
class Diagnosis:
    """Cause and remedy, each one line. Empty texts: the journal has no cause."""

    cause: str
    hint: str


@dataclass(frozen=True)
class Known:
    """A frequent error and its remedy."""

    pattern: str
    hint: str


KNOWN: Sequence[Known] = (
    Known(
        r"killed by the OOM killer|Failed with result 'oom-kill'|Out of memory: Killed process",
        "the host has too little memory: lower vllm.kv_cache_gib, raise vllm.memory_max_gib, or take a larger machine",
    ),
    Known(
        r"model requires more system memory",
        "the host has too little memory: lower model.context_tokens or ollama.num_parallel, or take a larger machine",
    ),
    Known(
        r"bind: address already in use",
        "another program has the port (`ss -ltnp` names it): end it, or choose another ollama.port",
    ),
    Known(
        r"unknown model architecture: ",
        "this release of Ollama does not know the model's architecture: choose a newer release, or another model",
    ),
    Known(
        r"CUDA out of memory|No available memory for the cache blocks",
        "the GPU has too little memory: lower model.context_tokens or vllm.max_sequences, or take a larger GPU",
    ),
    Known(
        r"Free memory on device \S+ \(.*\) on startup is less than",
        "another program holds the GPU's memory (`nvidia-smi` names it): end it, or lower vllm.gpu_memory_fraction",
    ),
    Known(
        r"Bfloat16 is only supported on GPUs with compute capability",
        "write model.dtype: float16, or choose a GPU of the Ampere generation or later",
    ),
    Known(
        r"quantization method \S+ is not supported for the current GPU",
        "this GPU is too old for the quantisation: choose another GPU, or weights with another quantisation",
    ),
    Known(
        r"attention heads \(\d+\) must be divisible by tensor parallel size",
        "the model does not divide by the number of GPUs: write a smaller gpu.count into the inventory, or take a "
        "machine type with 1, 2 or 4 of them",
    ),
    Known(
        r"LoRA rank \d+ is greater than max_lora_rank \d+",
        "raise vllm.max_lora_rank to the adapter's rank, or use a smaller adapter",
    ),
    Known(
        r"vLLM (?:does not(?: yet)? support|only supports) (?:init_lora_weights|DoRA|LoRA|modules_to_save|QALoRA)",
        "merge the adapter into the base model, or train it as plain LoRA (docs/adapters.md)",
    ),
    Known(
        r"expected target modules in .* but received|is unsupported LoRA weight",
        "the adapter was trained on another base model: name the base that its adapter_config.json names",
    ),
    Known(
        r"No adapter found for|doesn't contain tensors|adapter_config\.json'",
        "the adapter's files are missing or incomplete: check its source, and run `provision` again",
    ),
    Known(
        r"Address already in use",
        "another program has the port (`ss -ltnp` names it): end it, or choose another vllm.port",
    ),
    Known(
        r"GatedRepoError|Access to model .* is restricted|401 Client Error|is gated, private or does not exist",
        "accept the model's licence on the hub, and set model.source.token to a token that may read it",
    ),
    Known(
        r"trust_remote_code",
        "the model needs its own Python code: read it, then write model.trust_remote_code: true",
    ),
    Known(
        r"Model architectures? .* not supported|does not recognize this architecture|has no vLLM implementation",
        "this version of vLLM does not know the model's architecture: choose another model",
    ),
    Known(
        r"larger than the available KV cache memory",
        "raise vllm.kv_cache_gib (on a GPU vllm.gpu_memory_fraction), or lower model.context_tokens",
    ),
    Known(
        r"is greater than the derived max_model_len",
        "lower model.context_tokens to what the model's config.json allows",
    ),
    Known(
        r"No space left on device",
        "the disk is full: free space (`df -h` shows where), or give the host a larger disk",
    ),
    Known(
        r"can't allocate memory|Cannot allocate memory|on kv cache allocation is less than requested memory",
        "the host has too little memory: lower vllm.kv_cache_gib or model.context_tokens, or choose a larger machine",
    ),
    Known(
        r"Failed core proc\(s\): \{'EngineCore\w*': -9\}",
        "the engine was killed, as the kernel does when memory runs out: lower vllm.kv_cache_gib or "
        "model.context_tokens, or take a larger machine",
    ),
    Known(
        r"Repo id must be in the form|Invalid repository ID or local directory|have a file named config\.json",
        "the model's folder is missing or has no config.json: check model.source, and run `provision` again",
    ),
    Known(
        r"Cannot find any model weights|SafetensorError|No such file or directory: \S+\.safetensors",
        "the model's weights are missing or cut off: check model.source, and run `provision` again",
    ),
    Known(
        r"Couldn't instantiate the backend tokenizer|Can't load tokenizer",
        "the model has no tokenizer that can be read: put its tokenizer.json beside config.json",
    ),
    Known(
        r"[Ss]ystem not yet initialized|cudaErrorSystemNotReady|Error 802",
        "the NVLink switches have not joined the GPUs: see `systemctl status nvidia-fabricmanager`, and run "
        "`provision` again (docs/nvidia.md)",
    ),
    Known(
        r"No CUDA GPUs are available|driver on your system is too old|Failed to infer device type|libcuda\.so\.1",
        "the NVIDIA driver is missing or too old for this vLLM (see `nvidia-smi`): install a newer one, and reboot",
    ),
    Known(
        r"cannot open shared object file",
        "a library is missing on the host: run `provision` again, which installs it",
    ),
    Known(
        r"\[Errno 13\]|Permission denied",
        "the service's user may not read this: run `provision` again, which sets owners and modes",
    ),
    Known(
        r"[Cc]annot find the config file for|does not match the quantization method|[Uu]nknown quantization method",
        "the weights do not match model.quantization: remove that key, or name the right method",
    ),
    Known(
        r"unrecognized arguments|invalid choice",
        "the installed vLLM does not know one of its options: run `provision` again, which updates both",
    ),
)
"""In the order of the search: the more specific error first."""


def diagnose(journal: str) -> Diagnosis:
    """Return why the last failed start in `journal` failed."""
    for said in reversed(_starts(journal)):
        found = _known(said) or _first_error(said)
        if found is not None:
            return found
    return Diagnosis("", "")


def _starts(journal: str) -> list[list[str]]:
    """Return the lines of each start, without the prefixes of journalctl and vLLM, code lines and information."""
    starts: list[list[str]] = [[]]
    for line in journal.splitlines():
        bare = _JOURNAL.sub("", line)
        if _START.search(bare):
            starts.append([])
        bare = _PROCESS.sub("", bare).rstrip()
        detail = _DETAIL.match(bare)
        if detail:
            starts[-1].append(bare[detail.end() :])
        elif bare and not bare.startswith((" ", "INFO ", "WARNING ")):
            starts[-1].append(bare)
    return starts


def _known(said: Sequence[str]) -> Diagnosis | None:
    for known in KNOWN:
        line = next((line for line in said if re.search(known.pattern, line)), None)
        if line is not None:
            return Diagnosis(_shortened(line), known.hint)
    return None


def _first_error(said: Sequence[str]) -> Diagnosis | None:
    for number, line in enumerate(said):
        if _ERROR.match(line) and not any(words in line for words in _CONSEQUENCES):
            below = said[number + 1 : number + 2]
            return Diagnosis(_shortened(below[0] if below and _ABOVE_DETAIL.match(line) else line), "")
    return None


def _shortened(text: str) -> str:
    """Return one line that fits a screen, without the suffixes of pydantic and vLLM."""
    text = _BEHIND.sub("", text)
    return text if len(text) <= CAUSE_LENGTH else text[: CAUSE_LENGTH - 1] + "…"
