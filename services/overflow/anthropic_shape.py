"""Chats of OpenAI's API as Anthropic's Messages API has them, and back. Pure functions over JSON values.

What Anthropic has no word for is not translated: `can` says so, and the next provider is asked.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

SAME = ("top_p",)
NOT_THERE = (
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "response_format",
    "seed",
    "frequency_penalty",
    "presence_penalty",
)
"""Fields without a counterpart. With their default value they may be left out."""

DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
}

FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
"""Anthropic's stop reasons in OpenAI's words; any other is `content_filter` or `stop`."""

CHOICES = {"auto": {"type": "auto"}, "none": {"type": "none"}, "required": {"type": "any"}}

ROLES = ("system", "developer", "user", "assistant", "tool")


def can(body: Mapping[str, Any]) -> bool:
    """Return whether the chat `body` can be asked of Anthropic."""
    if any(key in body and body[key] not in DEFAULTS.get(key, ()) for key in NOT_THERE):
        return False
    if body.get("n", 1) != 1 or any(message["role"] not in ROLES for message in body["messages"]):
        return False
    try:  # all of it, so that a request which cannot be sent reserves nothing
        request(body, "", 1)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return False
    return any(message["role"] in ("user", "tool") for message in body["messages"])


def request(body: Mapping[str, Any], model: str, max_tokens: int) -> dict[str, Any]:
    """Return the chat `body` for /v1/messages."""
    asked: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "messages": _messages(body["messages"])}
    system = [_text(each.get("content")) for each in body["messages"] if each["role"] in ("system", "developer")]
    if system:
        asked["system"] = "\n\n".join(system)
    asked |= {key: body[key] for key in SAME if key in body}
    if "temperature" in body:
        asked["temperature"] = min(body["temperature"], 1)  # OpenAI's goes to 2
    if stop := body.get("stop"):
        asked["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    return asked | _tools(body)


def answer(body: Mapping[str, Any], alias: str) -> dict[str, Any]:
    """Return the answer of /v1/messages as OpenAI's chat completion."""
    text = "".join(part["text"] for part in body["content"] if part["type"] == "text")
    calls = [
        {
            "id": part["id"],
            "type": "function",
            "function": {"name": part["name"], "arguments": json.dumps(part["input"])},
        }
        for part in body["content"]
        if part["type"] == "tool_use"
    ]
    message = {"role": "assistant", "content": text or None if calls else text} | (
        {"tool_calls": calls} if calls else {}
    )
    tokens_in, tokens_out = tokens(body["usage"])
    return {
        "id": body["id"],
        "object": "chat.completion",
        "created": int(time.time()),
        "model": alias,
        "choices": [{"index": 0, "message": message, "finish_reason": _finish(body["stop_reason"]), "logprobs": None}],
        "usage": _usage(tokens_in, tokens_out),
    }


def tokens(usage: Mapping[str, Any]) -> tuple[int, int]:
    """Return the tokens in and out of Anthropic's `usage`; tokens of its cache count as tokens in."""
    cached = ("cache_creation_input_tokens", "cache_read_input_tokens")
    return usage["input_tokens"] + sum(usage.get(key) or 0 for key in cached), usage["output_tokens"]


@dataclass
class StreamShape:
    """Events of a stream of Anthropic as chunks of OpenAI's."""

    alias: str
    id: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    """Anthropic's counts; complete when `finished`."""
    finished: bool = False
    created: int = field(default_factory=lambda: int(time.time()))
    _calls: int = 0

    def chunks(self, event: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the chunks for one event; some events have none."""
        kind = event["type"]
        if kind == "message_start":
            self.id = event["message"]["id"]
            self.input_tokens, _ = tokens(event["message"]["usage"])
            yield self._chunk({"role": "assistant", "content": ""})
        elif kind == "content_block_start" and event["content_block"]["type"] == "tool_use":
            block = event["content_block"]
            call = {"index": self._calls, "id": block["id"], "type": "function"}
            self._calls += 1
            yield self._chunk({"tool_calls": [call | {"function": {"name": block["name"], "arguments": ""}}]})
        elif kind == "content_block_delta" and event["delta"]["type"] == "text_delta":
            yield self._chunk({"content": event["delta"]["text"]})
        elif kind == "content_block_delta" and event["delta"]["type"] == "input_json_delta":
            arguments = {"arguments": event["delta"]["partial_json"]}
            yield self._chunk({"tool_calls": [{"index": self._calls - 1, "function": arguments}]})
        elif kind == "message_delta":
            # Its counts are those of the whole message so far.
            self.output_tokens = event["usage"]["output_tokens"]
            if isinstance(event["usage"].get("input_tokens"), int):
                self.input_tokens, _ = tokens(event["usage"])
            yield self._chunk({}, _finish(event["delta"]["stop_reason"]))
        elif kind == "message_stop":
            self.finished = True

    def usage_chunk(self) -> dict[str, Any]:
        """Return the last chunk, which has the usage alone."""
        return {**self._chunk({}), "choices": [], "usage": _usage(self.input_tokens or 0, self.output_tokens or 0)}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        head = {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.alias}
        return head | {"choices": [choice]}


def _messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages without the system's. Neighbours of one role become one message, as Anthropic wants."""
    asked: list[dict[str, Any]] = []
    for message in messages:
        if message["role"] in ("system", "developer"):
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        if asked and asked[-1]["role"] == role:
            asked[-1]["content"] += _parts(message)
        else:
            asked.append({"role": role, "content": _parts(message)})
    return [each for each in asked if each["content"]]


def _parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of one message."""
    text = _text(message.get("content"))
    if message["role"] == "tool":
        return [{"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": text}]
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    for call in message.get("tool_calls") or ():
        given = json.loads(call["function"]["arguments"] or "{}")
        if not isinstance(given, dict):
            raise TypeError("the arguments of a call are not an object")
        parts.append({"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": given})
    return parts


def _text(content: Any) -> str:
    """Return the text of a message's content."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content or ())


def _tools(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields about tools."""
    tools = [
        {
            "name": tool["function"]["name"],
            "input_schema": tool["function"].get("parameters") or {"type": "object", "properties": {}},
        }
        | ({"description": tool["function"]["description"]} if tool["function"].get("description") else {})
        for tool in body.get("tools") or ()
    ]
    if not tools:
        return {}
    choice = body.get("tool_choice", "auto")
    by_name = isinstance(choice, dict)
    named: dict[str, Any] = {"type": "tool", "name": choice["function"]["name"]} if by_name else {**CHOICES[choice]}
    if body.get("parallel_tool_calls") is False and named["type"] != "none":
        named["disable_parallel_tool_use"] = True
    return {"tools": tools, "tool_choice": named}


def _finish(reason: str | None) -> str:
    return "content_filter" if reason == "refusal" else FINISH.get(reason or "", "stop")


def _usage(tokens_in: int, tokens_out: int) -> dict[str, int]:
    return {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
