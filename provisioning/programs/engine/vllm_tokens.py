"""One journal line per finished request to vLLM 0.32: a general plugin that runs inside each of its processes.

    LLM_DEPLOY_BASE_MODEL           name of the base model, for requests without an adapter

A line has the request's id as the gateway gave it, the base model or the version of the adapter, and how many tokens
came in and went out. The gateway cannot count them in a stream. A line contains no text of a prompt or an answer:

    {"tokens":"vllm","request_id":"…","model":"contract@3","prompt_tokens":5,"answer_tokens":16,"cached_tokens":0}

A request that its client or an error ended has no line.
"""

import json
import os
import re
from typing import Any

STANDARD_OUTPUT = 1

CHAT = re.compile(r"chatcmpl-(.*)", re.DOTALL)
COMPLETION = re.compile(r"cmpl-(.*)-(\d+)", re.DOTALL)
RESPONSE = re.compile(r"resp_(.*)_(\d+)", re.DOTALL)
"""vLLM puts these before the id of the header X-Request-Id, and behind it the number of the prompt or of the turn."""


def install() -> None:
    """Let vLLM write a line for each finished request."""
    from vllm.v1.engine.output_processor import OutputProcessor  # type: ignore[import-not-found]

    base = os.environ["LLM_DEPLOY_BASE_MODEL"]
    update = OutputProcessor._update_stats_from_finished

    def logged(self: Any, req_state: Any, *arguments: Any, **named: Any) -> Any:
        """Write the line, whatever the statistics do."""
        try:
            write(line(req_state, base))
        except Exception as error:  # a request is worth more than its line
            write(json.dumps({"tokens": "failed", "error": f"{type(error).__name__}: {error}"}) + "\n")
        return update(self, req_state, *arguments, **named)

    OutputProcessor._update_stats_from_finished = logged


def line(request: Any, base: str) -> str:
    """Return the line of a finished request, or of one of its `n` answers: the first alone counts the prompt."""
    return (
        json.dumps(
            {
                "tokens": "vllm",
                "request_id": gateways_id(request.external_req_id),
                "model": request.lora_name or base,
                "prompt_tokens": request.prompt_len if request.request_index == 0 else 0,
                "answer_tokens": request.stats.num_generation_tokens,
                "cached_tokens": request.num_cached_tokens if request.request_index == 0 else 0,
            },
            separators=(",", ":"),
        )
        + "\n"
    )


def gateways_id(name: str) -> str:
    """Return the id of the header X-Request-Id in vLLM's name of a request."""
    for pattern in (CHAT, COMPLETION, RESPONSE):
        found = pattern.fullmatch(name)
        if found:
            return found[1]
    return name


def write(text: str) -> None:
    """Write a line at once and whole. vLLM puts its own words before each line that goes through `sys.stdout`."""
    os.write(STANDARD_OUTPUT, text.encode("utf-8", "replace"))
