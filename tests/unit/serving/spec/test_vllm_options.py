"""Further options of vLLM: those that open no door pass, all others are refused with the reason."""

import re

import pytest

from core.paths import CHECKOUT
from serving.spec.vllm_options import ALLOWED, DOORS, OWN_KEYS, extra_arguments


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--enable-prefix-caching", "--max-num-batched-tokens=8192"),
        ("--kv-cache-dtype=fp8", "--seed=0", "--sse-keep-alive-interval=15"),
    ],
)
def test_options_that_open_no_door_pass(arguments: tuple[str, ...]) -> None:
    assert list(extra_arguments(arguments)) == []


REFUSED = {
    "--seed 3": "has a blank behind the name; write --seed=3",
    "--max_logprobs  5": "has a blank behind the name; write --max_logprobs=5",
    "--async-scheduling true": "has a blank behind the name; write --async-scheduling",
    "--host=0.0.0.0": "only the gateway may reach it",
    "--uds=/tmp/x": "only the gateway may reach it",
    "--ssl-keyfile=/x": "only the gateway may reach it",
    "--data-parallel-address=10.0.0.1": "only the gateway may reach it",
    "--api-key=x": "the gateway decides that",
    "--allow-credentials": "the gateway decides that",
    "--allowed-origins=*": "the gateway decides that",
    "--allowed-local-media-path=/etc": "the gateway decides that",
    "--middleware=os.system": "the gateway decides that",
    "--uvicorn-log-level=trace": "the gateway decides that",
    "--tool-parser-plugin=/x.py": "loads code",
    "--logits-processors=x:y": "loads code",
    "--worker-extension-cls=x": "loads code",
    "--io-processor-plugin=x": "loads code",
    "--trust-request-chat-template": "lets requests do what they should not",
    "--enable-prompt-embeds": "lets requests do what they should not",
    "--enable-scale-out": "opens further paths",
    "--profiler-config=x": "opens further paths",
    "--otlp-traces-endpoint=http://x": "to another place",
    "--kv-transfer-config={}": "to another place",
    "--enable-log-requests": "writes prompts or answers to the log",
    "--enable-log-outputs": "writes prompts or answers to the log",
    "--download-dir=/x": "names files of another place",
    "--revision=main": "names files of another place",
    "--config=/x.yaml": "names files of another place",
    "--hf-overrides={}": "names files of another place",
    "--port=1": "has a key of its own; write vllm.port",
    "--trust-remote-code": "has a key of its own; write model.trust_remote_code",
    "--trust_remote_code": "has a key of its own; write model.trust_remote_code",
    "--lora-modules=x=y": "has a key of its own; write adapters",
    "--kv-cache-dtypes=fp8": "did you mean --kv-cache-dtype?",
    "--middl=x": "is not one of the options",
    "-x": "is not one of the options",
    "": "is not one of the options",
    "fp8": "is not one of the options",
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
    assert (problem.key, problem.what) == ("vllm.extra_args[1]", "--seed is there already")


def test_nothing_that_is_allowed_has_a_key_or_opens_a_door() -> None:
    assert not set(ALLOWED) & set(OWN_KEYS)
    assert [name for name in ALLOWED for pattern in DOORS if re.fullmatch(pattern, name)] == []


def test_the_documentation_lists_what_is_allowed() -> None:
    text = (CHECKOUT / "docs/operations.md").read_text().split("## Tools, reasoning")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(--[a-z-]+)`", text, re.MULTILINE) == list(ALLOWED)
