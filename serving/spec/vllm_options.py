"""Options of vLLM 0.32 that a config may set: names of parsers, and extra arguments.

This is a list of allowed options, so that an option of a later release is refused until someone has reviewed it.
Names and values are those of `vllm serve --help`; tests/machine/test_vllm.py compares them with the real program.
"""

import difflib
import re
from collections.abc import Iterator, Sequence

from core.reading.rules import Problem

TOOL_CALL_PARSERS = (
    "apertus", "cohere_command3", "cohere_command4", "deepseek_v3", "deepseek_v31", "deepseek_v32", "deepseek_v4",
    "deepseek_v41", "dots", "ernie45", "functiongemma", "gemma4", "gigachat3", "glm45", "glm47", "granite",
    "granite-20b-fc", "granite4", "hermes", "hf", "hunyuan_a13b", "hy_v3", "hy_v4", "inkling", "internlm", "jamba",
    "k2_horizon", "kimi_k2", "kimi_k3", "lfm2", "ling3", "llama3_json", "llama4_json", "llama4_pythonic", "longcat",
    "mimo", "minicpm5", "minimax_m2", "minimax_m3", "mistral", "muse_glimmer", "olmo3", "openai", "phi4_mini_json",
    "plamo3", "poolside_v1", "pythonic", "qwen3_coder", "qwen3_json", "qwen3_xml", "seed_oss", "step3", "step3p5",
    "xlam",
)  # fmt: skip
"""ToolParserManager.list_registered() of vLLM 0.32.0."""

REASONING_PARSERS = (
    "cohere_command3", "cohere_command4", "deepseek_r1", "deepseek_v3", "deepseek_v4", "deepseek_v41", "ernie45",
    "gemma4", "glm45", "glm47", "granite", "granite_thinking_parser", "hf", "holo2", "hunyuan_a13b", "hy_v3", "hy_v4",
    "inkling", "k2_horizon", "kimi_k2", "kimi_k3", "ling3", "mimo", "minicpmv", "minimax_m2",
    "minimax_m2_append_think", "minimax_m3", "mistral", "muse_glimmer", "nemotron_v3", "olmo3", "openai_gptoss",
    "plamo3", "poolside_v1", "qwen3", "seed_oss", "step3", "step3p5",
)  # fmt: skip
"""ReasoningParserManager.list_registered() of vLLM 0.32.0."""

FLAG = r""
NUMBER = r"[1-9]\d{0,6}"
ALLOWED = {
    "--enable-prefix-caching": FLAG,
    "--no-enable-prefix-caching": FLAG,
    "--enable-chunked-prefill": FLAG,
    "--no-enable-chunked-prefill": FLAG,
    "--async-scheduling": FLAG,
    "--no-async-scheduling": FLAG,
    "--max-num-batched-tokens": NUMBER,
    "--long-prefill-token-threshold": NUMBER,
    "--kv-cache-dtype": r"auto|bfloat16|fp8|fp8_e4m3|fp8_e5m2",
    "--block-size": r"16|32|64|128",
    "--seed": r"0|" + NUMBER,
    "--max-logprobs": NUMBER,
    "--generation-config": r"auto|vllm",
    "--tokenizer-mode": r"auto|hf|slow|mistral",
    "--cpu-offload-gb": NUMBER,
    "--enable-expert-parallel": FLAG,
    "--disable-custom-all-reduce": FLAG,
    "--fully-sharded-loras": FLAG,
    "--disable-sliding-window": FLAG,
    "--disable-cascade-attn": FLAG,
    "--chat-template-content-format": r"auto|string|openai",
    "--enable-prompt-tokens-details": FLAG,
    "--enable-force-include-usage": FLAG,
    "--exclude-tools-when-tool-choice-none": FLAG,
    "--tool-strict-level": r"auto|function|parameter",
    "--sse-keep-alive-interval": NUMBER,
    "--stream-interval": NUMBER,
    "--fingerprint-mode": r"full|hash|none",
}
"""Allowed options, with a pattern of the value."""

OWN_KEYS = {
    "--model": "model.source",
    "--served-model-name": "model.name",
    "--port": "vllm.port",
    "--dtype": "model.dtype",
    "--quantization": "model.quantization",
    "--max-model-len": "model.context_tokens",
    "--max-num-seqs": "vllm.max_sequences",
    "--gpu-memory-utilization": "vllm.gpu_memory_fraction",
    "--enforce-eager": "vllm.eager",
    "--kv-cache-memory-bytes": "vllm.kv_cache_gib",
    "--shutdown-timeout": "drain_s",
    "--trust-remote-code": "model.trust_remote_code",
    "--enable-lora": "adapters",
    "--lora-modules": "adapters",
    "--max-lora-rank": "vllm.max_lora_rank",
    "--max-loras": "vllm.adapter_slots",
    "--tool-call-parser": "vllm.tool_call_parser",
    "--enable-auto-tool-choice": "vllm.tool_call_parser",
    "--reasoning-parser": "vllm.reasoning_parser",
    "--chat-template": "vllm.chat_template",
}
"""Options that have their own key in the config, or that must fit several other keys."""

UNSAFE = {
    r"--(host|uds|root-path|grpc.*|api-server-count|headless|data-parallel.*|node.*|master.*|ssl.*|enable-ssl.*)": (
        "sets where the engine listens or connects, and only the gateway may reach it"
    ),
    r"--(api-key|allow.*|middleware|h11.*|enable-request-id-headers|uvicorn.*|disable-uvicorn.*)": (
        "sets who may use the engine and how, which is up to the gateway"
    ),
    r"--(tool-server|tool-parser-plugin|reasoning-parser-plugin|logits-processors|worker.*|scheduler-cls)": (
        "loads other code into the engine"
    ),
    r"--(io-processor-plugin|model-impl|additional-config|.*-loader-extra-config)": "loads other code into the engine",
    r"--(trust-request.*|enable-prompt-embeds|enable-mm-embeds|enable-sleep-mode|enable-tokenizer-info.*)": (
        "lets requests do or see more than they should"
    ),
    r"--(enable-scale-out|tokens-only|enable-server-load.*|profiler-config)": "opens more paths of the engine",
    r"--(otlp.*|collect-detailed.*|kv-transfer.*|ec-transfer.*|kv-events.*|weight-transfer.*)": (
        "sends data of requests to another server"
    ),
    r"--(enable-log-requests|enable-log-outputs|max-log-len|log-.*)": "writes prompts or answers to the log",
    r"--(download-dir|revision|.*-revision|hf-.*|tokenizer|config|load-format|speculative-config)": (
        "names other files, but the engine is offline and reads only files that were fetched and checked"
    ),
}
"""Options that would make the engine unsafe, by pattern of the name, and why."""


def extra_arguments(arguments: Sequence[str]) -> Iterator[Problem]:
    """Yield a problem for each wrong entry of `vllm.extra_args`. An entry is one word: `--name` or `--name=value`."""
    seen: set[str] = set()
    for index, argument in enumerate(arguments):
        key = f"vllm.extra_args[{index}]"
        name, equals, value = argument.partition("=")
        first, *rest = argument.split(maxsplit=1) or [argument]
        if rest and first.replace("_", "-") in ALLOWED:
            joined = f"{first}={rest[0]}" if ALLOWED[first.replace("_", "-")] else first
            yield Problem(key, f"{argument} has a space after the name", f"write {joined}")
            continue
        name = name.replace("_", "-")  # as vLLM reads it
        if name in seen:
            yield Problem(key, f"{name} is given twice", "write it once")
        elif name in OWN_KEYS:
            yield Problem(key, f"{name} has its own key", f"write {OWN_KEYS[name]}")
        elif name not in ALLOWED:
            yield Problem(key, f"{name} {_why_not(name)}", _nearest(name))
        elif bool(equals) != bool(ALLOWED[name]):
            form = f"{name}=VALUE" if ALLOWED[name] else name
            yield Problem(key, f"{argument} does not have the form of that option", f"write {form}")
        elif not re.fullmatch(ALLOWED[name], value):
            wanted = "a whole number" if NUMBER in ALLOWED[name] else f"one of {ALLOWED[name].replace('|', ', ')}"
            yield Problem(key, f"{value} is not a value of {name}", f"write {wanted}")
        seen.add(name)


def _why_not(name: str) -> str:
    reasons = (reason for pattern, reason in UNSAFE.items() if re.fullmatch(pattern, name))
    return next(reasons, "is not an option that may be set here")


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, ALLOWED, n=1)
    return f"did you mean {near[0]}?" if near else "leave it out; docs/operations.md lists the options that may be set"
