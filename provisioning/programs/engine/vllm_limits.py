"""Limits on one request to vLLM 0.32: a general plugin that runs inside each of its processes.

    LLM_DEPLOY_MAX_ANSWERS          answers of one completion request: prompts of its list times `n`
    LLM_DEPLOY_MAX_CONSTRAINT_BYTES size of the schema, regex, grammar or choices that constrain an answer

vLLM has variables that limit `n`, prompts and regexes (serving/engines/vllm.py). It has none for the size of a schema,
and it answers 500 to values that it checks too late. Every change below fixes one of these cases; the answer is a 400.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LOWEST_PRIORITY = 19
"""Priority of the threads that compile a schema: threads that compute answers come first."""

PROMPTS = ("messages", "prompt", "system", "input", "include")
"""Keys of a request that may be lists: of chat, of completions, of Anthropic's API, of OpenAI's responses."""

MOST_ITEMS = 4096
"""Maximum number of items in one request's messages, prompts, inputs and tools together; numbers are one prompt.

Each invalid item costs up to 0.1 ms (100,000 empty messages: 10 s), during which vLLM answers no other request.
"""

MAX_TOKENS_HEADER = "x-llm-max-tokens"
"""The gateway's limit on the length of an answer. No client can send it: the gateway drops it."""

MODEL_HEADER = "x-llm-model"
"""The model that answers in place of the one in the body, by the gateway's decision. No client can send it either."""

MOST_TOKENS: contextvars.ContextVar[int | None] = contextvars.ContextVar("most_tokens", default=None)
"""The same for the request that this task answers. None: there is no limit."""

READ_S = 5
"""How long the validation of a constraint may take, including the wait for other validations."""

ASKED_AT_ONCE_BYTES = 4096
"""Size of a constraint that may be read while other requests wait: usually 0.1 s, at worst 1.5 s."""

VALIDATED = "_llm_deploy_validated"
"""Attribute that marks sampling parameters with a validated constraint."""

CLIENT_CAUSED = (ValueError, TypeError, ArithmeticError)
"""Errors that vLLM raises for a bad value before the engine gets the request. A surrogate is a ValueError."""


def _give_way() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)


READERS = ThreadPoolExecutor(max_workers=4, initializer=_give_way)
"""Threads that validate constraints."""


def install() -> None:
    """Change vLLM in this process."""
    _bound_items()
    _bound_length()
    _bound_constraints()
    _bound_answers()
    _answer_400()
    _answer_in_shape()
    _compile_behind_others()


def constraint_bytes(constraint: Any) -> int:
    """Return the size of an answer's constraint, in bytes of UTF-8."""
    parts = [getattr(constraint, name) for name in ("json", "regex", "choice", "grammar", "structural_tag")]
    texts = [part if isinstance(part, str) else json.dumps(part) for part in parts if part is not None]
    return sum(len(text.encode("utf-8", "replace")) for text in texts)


def items(body: Any) -> int:
    """Return how many items vLLM would validate one by one in the request `body`.

    Lists of numbers are validated at once. Schemas, also inside a tool, have their own limit.
    """
    if not isinstance(body, dict):
        return 0
    tools = body.get("tools")
    total = len(tools) if isinstance(tools, list) else 0
    left = [body.get(name) for name in PROMPTS]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list) and not all(isinstance(item, int) for item in value):
            total += len(value)
            left += value
    return total


def answers(prompt: Any, n: Any) -> int:
    """Return how many answers a completion request asks for; a list of numbers is one prompt."""
    many = isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)
    return (len(prompt) if many else 1) * (n if isinstance(n, int) else 1)


def prompt_logprobs_end_the_engine(config: Any, sampling_params: Any) -> bool:
    """Return whether log probabilities of a prompt would crash vLLM: on a CPU with adapters, beside another request.

    vLLM 0.32 applies the adapters of the batch's requests to the prompt's tokens, which differ in number.
    """
    wanted = getattr(sampling_params, "prompt_logprobs", None) is not None
    return wanted and config.lora_config is not None and config.device_config.device_type == "cpu"


def too_many(n: Any, limit: int) -> str:
    """Return the parameter that asks for too many answers: `n` if it is too large for one prompt, else `prompt`."""
    return "n" if isinstance(n, int) and n > limit else "prompt"


def _bound_items() -> None:
    from fastapi import HTTPException  # type: ignore[import-not-found]
    from starlette.requests import Request  # type: ignore[import-not-found]

    read = Request.json

    async def bounded(self: Any) -> Any:
        """Refuse a body with too many items before each is compared with all types of messages."""
        MOST_TOKENS.set(tokens_of(self.headers.get(MAX_TOKENS_HEADER)))
        body = await read(self)
        found = items(body)
        if found > MOST_ITEMS:
            said = (
                f"The messages, prompts and tools are lists of {found} items together; at most {MOST_ITEMS} are taken."
            )
            raise HTTPException(400, said)
        model = self.headers.get(MODEL_HEADER)
        return {**body, "model": model} if model and isinstance(body, dict) else body

    Request.json = bounded


def tokens_of(header: Any) -> int | None:
    """Return the number of tokens in a header; None without one."""
    return int(header) if isinstance(header, str) and header.isdecimal() else None


def _bound_length() -> None:
    """End each answer at the gateway's limit, and also an answer whose request names no length."""
    for name in ("chat_completion", "completion", "responses"):
        module = importlib.import_module(f"vllm.entrypoints.openai.{name}.serving")
        module.get_max_tokens = _bounded_length(module.get_max_tokens)  # type: ignore[attr-defined]


def _bounded_length(usual: Callable[..., int]) -> Callable[..., int]:
    def bounded(*arguments: Any, **named: Any) -> int:
        found, most = usual(*arguments, **named), MOST_TOKENS.get()
        return found if most is None else min(found, most)

    return bounded


def _bound_constraints() -> None:
    from vllm.exceptions import VLLMValidationError  # type: ignore[import-not-found]
    from vllm.sampling_params import SamplingParams  # type: ignore[import-not-found]

    limit = int(os.environ["LLM_DEPLOY_MAX_CONSTRAINT_BYTES"])
    validate = SamplingParams._validate_structured_outputs

    def refuse_large(size: int) -> None:
        if size > limit:
            raise VLLMValidationError(
                f"The schema, regex, grammar or tools have {size} bytes; at most {limit} are taken.",
                parameter="structured_outputs",
            )

    def bounded(self: Any, *arguments: Any, **named: Any) -> None:
        """Refuse a large constraint before anything is built from it. A validated constraint is not built again."""
        if self.__dict__.get(VALIDATED):
            return
        refuse_large(constraint_bytes(self.structured_outputs) if self.structured_outputs is not None else 0)
        validate(self, *arguments, **named)

    SamplingParams._validate_structured_outputs = bounded

    from vllm.entrypoints.generate.base import protocol  # type: ignore[import-not-found]

    def sized(payload: Any, **_: Any) -> None:
        """Check only the size of a structural tag while vLLM reads the request.

        A thread validates it later, like all other constraints.
        """
        refuse_large(len(payload.encode("utf-8", "replace")) if isinstance(payload, str) else 0)

    protocol.validate_structural_tag_payload = sized

    from vllm.parser import abstract_parser  # type: ignore[import-not-found]

    supports = abstract_parser._xgrammar_supports

    def supports_small(constraint: Any) -> bool:
        """Let xgrammar check only a small constraint beside tools at once; a thread validates a larger one."""
        size = constraint_bytes(constraint)
        return bool(supports(constraint)) if size <= ASKED_AT_ONCE_BYTES else size <= limit

    abstract_parser._xgrammar_supports = supports_small

    from vllm.v1.structured_output import backend_outlines  # type: ignore[import-not-found]

    def unsupported(_: Any) -> None:
        """Refuse constraints that vLLM would pass to outlines, which can block all other requests for minutes."""
        raise VLLMValidationError(
            "The schema uses keywords that neither xgrammar nor guidance supports.", parameter="structured_outputs"
        )

    backend_outlines.validate_structured_output_request_outlines = unsupported


def _bound_answers() -> None:
    from vllm.entrypoints.openai.completion.serving import (  # type: ignore[import-not-found]
        OpenAIServingCompletion,
    )
    from vllm.exceptions import VLLMValidationError

    limit = int(os.environ["LLM_DEPLOY_MAX_ANSWERS"])
    create = OpenAIServingCompletion.create_completion

    async def bounded(self: Any, request: Any, *arguments: Any, **named: Any) -> Any:
        """Refuse a request that asks for too many answers."""
        asked = answers(request.prompt, request.n)
        if asked > limit:
            raise VLLMValidationError(
                f"The request asks for {asked} answers (prompts times n); at most {limit} are given.",
                parameter=too_many(request.n, limit),
            )
        return await create(self, request, *arguments, **named)

    OpenAIServingCompletion.create_completion = bounded


def _answer_400() -> None:
    from vllm.entrypoints.serve.exception_handling.handlers import exception  # type: ignore[import-not-found]
    from vllm.exceptions import VLLMValidationError
    from vllm.v1.engine.async_llm import AsyncLLM  # type: ignore[import-not-found]
    from vllm.v1.engine.exceptions import EngineGenerateError  # type: ignore[import-not-found]

    generate, respond = AsyncLLM.generate, exception.create_error_response

    async def refusing(self: Any, prompt: Any, sampling_params: Any, *rest: Any, **named: Any) -> AsyncIterator[Any]:
        """Generate, and report an error as the client's if its values are the cause."""
        if prompt_logprobs_end_the_engine(self.vllm_config, sampling_params):
            raise VLLMValidationError(
                "Log probabilities of the prompt are not available on a CPU that serves adapters; leave out "
                "prompt_logprobs, and echo together with logprobs.",
                parameter="prompt_logprobs",
            )
        constrained = getattr(sampling_params, "structured_outputs", None) is not None
        if constrained:
            await _validate_aside(self, sampling_params)
        outputs = generate(self, prompt, sampling_params, *rest, **named)
        try:
            async for output in outputs:
                # The engine's core ends only such a request: its constraint does not compile, or no token matches it.
                if constrained and any(answer.finish_reason == "error" for answer in output.outputs):
                    raise VLLMValidationError(
                        "The schema, regex or grammar cannot be compiled, or the other parameters contradict it.",
                        parameter="structured_outputs",
                    )
                yield output
        except EngineGenerateError as error:
            cause = error.__cause__
            if isinstance(cause, CLIENT_CAUSED):
                raise VLLMValidationError(f"A value of the request cannot be used: {cause}") from cause
            raise
        finally:
            await outputs.aclose()

    def responding(error: Any, *arguments: Any, **named: Any) -> Any:
        """Answer 400 to overflowing arithmetic, to deep JSON, and to an error in the classes that parse a request."""
        if isinstance(error, ArithmeticError | RecursionError) or (isinstance(error, Exception) and _in_reading(error)):
            error = VLLMValidationError(f"A value of the request cannot be used: {error}")
        return respond(error, *arguments, **named)

    AsyncLLM.generate = refusing
    exception.create_error_response = responding


def _answer_in_shape() -> None:
    """Answer every HTTP error in OpenAI's format.

    FastAPI raises Starlette's HTTPException for a body that is not text. vLLM 0.32 registers its handler only for
    FastAPI's subclass, and Starlette's handler would answer `{"detail": …}`.
    """
    from starlette.exceptions import HTTPException  # type: ignore[import-not-found]
    from vllm.entrypoints.serve.exception_handling import register  # type: ignore[import-not-found]

    register.HTTPException = HTTPException


async def _validate_aside(engine: Any, sampling_params: Any) -> None:
    """Validate a constraint in a thread: vLLM itself would block all other requests meanwhile.

    A thread cannot be stopped. After the time limit it continues with the lowest priority, and its request is refused.
    """
    from vllm.exceptions import VLLMClientError, VLLMValidationError

    config, tokenizer = engine.vllm_config, engine.input_processor.tokenizer
    check = sampling_params._validate_structured_outputs
    work = asyncio.get_running_loop().run_in_executor(
        READERS, check, config.model_config, config.structured_outputs_config, tokenizer
    )
    try:
        await asyncio.wait_for(work, READ_S)
    except TimeoutError:
        raise VLLMValidationError(
            f"The schema, regex or grammar is too complex: it was not read within {READ_S} s.",
            parameter="structured_outputs",
        ) from None
    except VLLMClientError:
        raise
    except Exception as error:  # compilers raise many kinds of errors, and their input came from the client
        raise VLLMValidationError(
            f"The schema, regex or grammar cannot be read: {error}", parameter="structured_outputs"
        ) from error
    setattr(sampling_params, VALIDATED, True)


def _in_reading(error: BaseException) -> bool:
    """Return whether `error` was raised in a module that defines the fields of a request."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    place = Path(step.tb_frame.f_code.co_filename) if step is not None else Path()
    return place.name == "protocol.py" and "entrypoints" in place.parts


def _compile_behind_others() -> None:
    from vllm.v1.structured_output import StructuredOutputManager

    begin = StructuredOutputManager.__init__

    def beginning(self: Any, *arguments: Any, **named: Any) -> None:
        """Start with threads of the lowest priority; threads that xgrammar starts inherit it."""
        begin(self, *arguments, **named)
        workers = getattr(getattr(self, "executor", None), "_max_workers", 0)
        if workers:
            self.executor.shutdown(wait=False)
            self.executor = ThreadPoolExecutor(max_workers=workers, initializer=_give_way)

    StructuredOutputManager.__init__ = beginning
