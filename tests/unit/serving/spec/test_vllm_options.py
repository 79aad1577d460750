"""More options of vLLM: safe ones pass, all others are refused with the reason."""

import re

import pytest

from core.paths import CHECKOUT
from serving.spec.vllm_options import ALLOWED, OWN_KEYS, UNSAFE, extra_arguments


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--enable-prefix-caching", "--max-num-batched-tokens=8192"),
        ("--kv-cache-dtype=fp8", "--seed=0", "--sse-keep-alive-interval=15"),
    ],
)
def test_safe_options_pass(arguments: tuple[str, ...]) -> None:
    assert list(extra_arguments(arguments)) == []


REFUSED = {
    "--seed 3": "has a space after the name; write --seed=3",
    "--max_logprobs  5": "has a space after the name; write --max_logprobs=5",
    "--async-scheduling true": "has a space after the name; write --async-scheduling",
    "--host=0.0.0.0": "only the gateway may reach it",
    "--uds=/tmp/x": "only the gateway may reach it",
    "--ssl-keyfile=/x": "only the gateway may reach it",
    "--data-parallel-address=10.0.0.1": "only the gateway may reach it",
    "--api-key=x": "up to the gateway",
    "--allow-credentials": "up to the gateway",
    "--allowed-origins=*": "up to the gateway",
    "--allowed-local-media-path=/etc": "up to the gateway",
    "--middleware=os.system": "up to the gateway",
    "--uvicorn-log-level=trace": "up to the gateway",
    "--tool-parser-plugin=/x.py": "loads other code",
    "--logits-processors=x:y": "loads other code",
    "--worker-extension-cls=x": "loads other code",
    "--io-processor-plugin=x": "loads other code",
    "--trust-request-chat-template": "lets requests do or see more than they should",
    "--enable-prompt-embeds": "lets requests do or see more than they should",
    "--enable-scale-out": "opens more paths",
    "--profiler-config=x": "opens more paths",
    "--otlp-traces-endpoint=http://x": "to another server",
    "--kv-transfer-config={}": "to another server",
    "--enable-log-requests": "writes prompts or answers to the log",
    "--enable-log-outputs": "writes prompts or answers to the log",
    "--download-dir=/x": "names other files",
    "--revision=main": "names other files",
    "--config=/x.yaml": "names other files",
    "--hf-overrides={}": "names other files",
    "--port=1": "has its own key; write vllm.port",
    "--trust-remote-code": "has its own key; write model.trust_remote_code",
    "--trust_remote_code": "has its own key; write model.trust_remote_code",
    "--lora-modules=x=y": "has its own key; write adapters",
    "--kv-cache-dtypes=fp8": "did you mean --kv-cache-dtype?",
    "--middl=x": "is not an option that may be set here",
    "-x": "is not an option that may be set here",
    "": "is not an option that may be set here",
    "fp8": "is not an option that may be set here",
    "--kv-cache-dtype": "write --kv-cache-dtype=VALUE",
    "--enable-prefix-caching=true": "write --enable-prefix-caching",
    "--kv-cache-dtype=fp9": "write one of auto, bfloat16, fp8",
    "--max-num-batched-tokens=1e9": "write a whole number",
    "--max-num-batched-tokens=1 --host=::": "write a whole number",
    "--max-num-batched-tokens=1\n": "write a whole number",
    "--seed=$(id)": "write a whole number",
}


@pytest.mark.parametrize(("argument", "words"), REFUSED.items(), ids=REFUSED.keys())
def test_all_others_are_refused_with_the_reason(argument: str, words: str) -> None:
    (problem,) = extra_arguments([argument])
    assert problem.key == "vllm.extra_args[0]"
    assert words in f"{problem.what}; {problem.hint}"


def test_an_option_is_written_once() -> None:
    (problem,) = extra_arguments(["--seed=1", "--seed=2"])
    assert (problem.key, problem.what) == ("vllm.extra_args[1]", "--seed is given twice")


def test_no_allowed_option_has_its_own_key_or_is_unsafe() -> None:
    assert not set(ALLOWED) & set(OWN_KEYS)
    assert [name for name in ALLOWED for pattern in UNSAFE if re.fullmatch(pattern, name)] == []


def test_the_documentation_lists_what_is_allowed() -> None:
    text = (CHECKOUT / "docs/operations.md").read_text().split("## Tools, reasoning")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(--[a-z-]+)`", text, re.MULTILINE) == list(ALLOWED)
