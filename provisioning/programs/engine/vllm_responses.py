"""OpenAI's /v1/responses in vLLM 0.32, within the limits of the other paths: a general plugin inside each process.

Only what needs no stored response is available: messages, function calls and their outputs. vLLM itself would compare
each item of `input` with all of OpenAI's types (4,000 empty items: 27 s, in which nobody else is answered), name
requests as the client likes, and break off a stream that fails.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PATH = "/v1/responses"

REQUEST_ID_HEADER = "x-request-id"
"""The request's id, as the gateway gave it."""

ITEMS = ("message", "function_call", "function_call_output", "reasoning")
"""Types of items in `input` from which vLLM makes a prompt. An item without `type` has the first."""


def install() -> None:
    """Change vLLM in this process."""
    _refuse_unavailable()
    _narrow_types()
    _end_streams()


def unavailable(body: dict[str, Any]) -> str | None:
    """Return what of a request is not available here; None if all is.

    The gateway refuses what would need a stored response.
    """
    if body.get("previous_input_messages"):
        return "`previous_input_messages` is not available. Write the whole conversation into `input`."
    tools, given = body.get("tools"), body.get("input")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("type") != "function":
            return f"Tools of type {_named(tool.get('type'))} are not available: write tools of type function."
    for item in given if isinstance(given, list) else ():
        if isinstance(item, dict) and (item.get("type") or ITEMS[0]) not in ITEMS:
            return f"Items of type {_named(item['type'])} are not available in `input`: write {', '.join(ITEMS)}."
        if kind_of(item) == "answer" and not _begins_with_text(item):
            return "The content of an assistant's message in `input` must be text, or begin with a part output_text."
    return None


def _begins_with_text(item: dict[str, Any]) -> bool:
    """Return whether vLLM can read an answer: it takes the first part for text, and answered 500."""
    content = item.get("content")
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and first.get("type") == "output_text"


def _named(value: Any) -> str:
    return repr(value)[:50]


def kind_of(item: Any) -> str | None:
    """Return which of the types in `_narrow_types` an item of `input` has; None for none of them."""

    def field(name: str) -> Any:
        return item.get(name) if isinstance(item, dict) else getattr(item, name, None)

    kind = field("type") or ITEMS[0]
    if kind != ITEMS[0] or isinstance(field("content"), str):
        return kind if isinstance(kind, str) else None
    return "answer" if field("role") == "assistant" else "parts"


def _refuse_unavailable() -> None:
    from fastapi import HTTPException  # type: ignore[import-not-found]
    from starlette.requests import Request  # type: ignore[import-not-found]

    read = Request.json

    async def checked(self: Any) -> Any:
        """Refuse what is not available, and name the request as the gateway does, like the other paths."""
        body = await read(self)
        if self.url.path == PATH and isinstance(body, dict):
            problem = unavailable(body)
            if problem:
                raise HTTPException(400, problem)
            body["request_id"] = f"resp_{self.headers.get(REQUEST_ID_HEADER) or uuid.uuid4().hex}"
        return body

    Request.json = checked


class _FirstError:
    """Ends the validation of a list at its first invalid item; pydantic's own FailFast has no hash."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        return {**handler(source), "fail_fast": True}


def _narrow_types() -> None:
    """Compare an item of `input` with the one type that it names, and a tool with a function."""
    from openai.types.responses import (
        EasyInputMessageParam,
        FunctionTool,
        ResponseFunctionToolCall,
        ResponseOutputMessage,
        ResponseReasoningItem,
    )
    from openai.types.responses.response_input_item_param import FunctionCallOutput, Message
    from pydantic import BeforeValidator, Discriminator, Tag
    from vllm.entrypoints.openai.responses import protocol  # type: ignore[import-not-found]

    item = Annotated[
        Annotated[EasyInputMessageParam, Tag("message")]
        | Annotated[Message, Tag("parts")]
        | Annotated[ResponseOutputMessage, Tag("answer")]
        | Annotated[ResponseFunctionToolCall, Tag("function_call")]
        | Annotated[FunctionCallOutput, Tag("function_call_output")]
        | Annotated[ResponseReasoningItem, Tag("reasoning")],
        Discriminator(kind_of),
        BeforeValidator(protocol._default_input_image_details),
    ]
    request = protocol.ResponsesRequest
    request.model_fields["input"].annotation = str | Annotated[list[item], _FirstError()]
    request.model_fields["tools"].annotation = Annotated[list[FunctionTool], _FirstError()]
    request.model_rebuild(force=True)


def _end_streams() -> None:
    """End a stream that fails with an event of type `error`, as the streams of other paths end."""
    from openai.types.responses import ResponseErrorEvent
    from vllm.entrypoints.openai.responses.serving import OpenAIServingResponses  # type: ignore[import-not-found]
    from vllm.entrypoints.serve.exception_handling.handlers import exception  # type: ignore[import-not-found]

    stream = OpenAIServingResponses.responses_stream_generator

    async def ending(self: Any, *arguments: Any, **named: Any) -> AsyncIterator[Any]:
        number = -1
        events = stream(self, *arguments, **named)
        try:
            async for event in events:
                number = event.sequence_number
                yield event
        except Exception as error:
            said = exception.create_error_response(error).error
            yield ResponseErrorEvent(
                type="error", code=said.type, message=said.message, param=said.param, sequence_number=number + 1
            )
        finally:
            await events.aclose()

    OpenAIServingResponses.responses_stream_generator = ending
