"""An answer of a model, and the errors in place of one."""

from dataclasses import dataclass


class LLMError(Exception):
    """No answer: refused, unreachable, or broken off. The text is one line without the key."""

    def __init__(self, what: str, *, status: int | None = None, code: str | None = None, retry: bool = False) -> None:
        super().__init__(what)
        self.status = status
        self.code = code
        self.retry = retry
        """Whether the same request may succeed later, and has not begun to answer."""
        self.retry_after_s: float | None = None


class BrokenOffError(LLMError):
    """An answer that began and did not end: half of it is never given as the whole."""

    def __init__(self, what: str, text: str) -> None:
        super().__init__(what)
        self.text = text
        """What of the answer had come."""


class LLMSettingsError(LLMError):
    """A setting is missing or wrong. The text says where, what, and what to write."""

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        place = f"{where}: " if where else ""
        super().__init__(f"{place}{what}; {hint}" if hint else f"{place}{what}")
        self.what, self.where, self.hint = what, where, hint


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A model's answer and what it took."""

    text: str
    model: str
    request_id: str
    """Sent as X-Request-Id and the same in each retry, so that the provider's log shows them as one request."""
    input_tokens: int | None = None
    """None: the provider did not say. Includes tokens that came from the provider's cache."""
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    """Input tokens that Claude's API stored in its cache, at a price of their own."""
    output_tokens: int | None = None
    cost_usd: float | None = None
    """None: not known. That is not 0: the price is missing, or the tokens are."""
    finish_reason: str | None = None
    served_by: str | None = None
    """X-Served-By of a gateway that passed the request on to another provider."""
    degraded: str | None = None
    """X-Degraded of a gateway that answered with a smaller model or at shorter length."""
    seconds: float = 0.0
