"""The gateway's own answers, in the shape of OpenAI's errors, as HAProxy directives.

haproxy.cfg.j2 decides when each answer is given.
"""

import json
from dataclasses import dataclass

RETRY_AFTER_S = 10
"""Seconds in Retry-After. That is time for a few answers if the queue is full, and for some checks of an engine that is
down."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One error answer."""

    status: int
    message: str
    kind: str = "invalid_request_error"
    """OpenAI's `type`."""
    code: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def body(self) -> str:
        """The JSON body."""
        error = {"message": self.message, "type": self.kind, "param": None, "code": self.code}
        return json.dumps({"error": error}, separators=(",", ":"))

    @property
    def directive(self) -> str:
        """The arguments of `http-request return` or `http-error`."""
        return _directive(self.status, "string", self.body, self.headers)


_RETRY = (("Retry-After", str(RETRY_AFTER_S)),)
_SERVER = "server_error"
_BUSY = "rate_limit_error"

ANSWERS = {
    "no_key": Answer(
        status=401,
        message="No API key. Send it as a header, Authorization: Bearer YOUR_KEY, or x-api-key or api-key: YOUR_KEY.",
        code="missing_api_key",
        headers=(("WWW-Authenticate", 'Bearer realm="llm"'),),
    ),
    "wrong_key": Answer(
        status=401,
        message="Incorrect API key.",
        code="invalid_api_key",
        headers=(("WWW-Authenticate", 'Bearer realm="llm", error="invalid_token"'),),
    ),
    "two_keys": Answer(
        status=400,
        message="More than one API key. Send one, in Authorization, x-api-key or api-key.",
        code="conflicting_api_keys",
    ),
    "unknown_model": Answer(
        status=404, message="There is no such model. GET /v1/models lists all.", code="model_not_found"
    ),
    "unknown_path": Answer(status=404, message="No such method and path here.", code="unknown_url"),
    "large_body": Answer(status=413, message="The request body is too large.", code="request_too_large"),
    "bad_header": Answer(status=400, message="A request header contains a control character.", code="invalid_header"),
    "encoded_body": Answer(
        status=415,
        message="Compressed request bodies are not supported. Send the body without Content-Encoding.",
        code="unsupported_content_encoding",
    ),
    "large_headers": Answer(status=431, message="The request headers are too large.", code="headers_too_large"),
    "queue_full": Answer(
        status=429, message="Too many requests are waiting.", kind=_BUSY, code="queue_full", headers=_RETRY
    ),
    "waited_too_long": Answer(
        status=429,
        message="The request waited too long for its turn.",
        kind=_BUSY,
        code="queue_timeout",
        headers=_RETRY,
    ),
    "engine_down": Answer(
        status=503, message="The engine is not ready.", kind=_SERVER, code="engine_unavailable", headers=_RETRY
    ),
    "failed": Answer(status=500, message="The gateway failed.", kind=_SERVER, code="gateway_error"),
}

OWN_ERRORS = (
    Answer(status=400, message="This is not a valid HTTP request.", code="bad_request"),
    Answer(status=401, message="No valid API key.", code="invalid_api_key"),
    Answer(status=403, message="The gateway refuses this request.", code="forbidden"),
    ANSWERS["unknown_path"],
    Answer(status=405, message="This method is not allowed here.", code="method_not_allowed"),
    Answer(status=407, message="The gateway is not a proxy.", code="not_a_proxy"),
    Answer(status=408, message="The request came too slowly.", code="request_timeout"),
    Answer(status=410, message="This is no longer here.", code="gone"),
    ANSWERS["large_body"],
    Answer(status=421, message="This host does not serve that name.", code="misdirected_request"),
    Answer(status=425, message="Send the request again after the TLS handshake.", code="too_early"),
    ANSWERS["queue_full"],
    ANSWERS["failed"],
    Answer(status=501, message="The gateway does not support this request.", kind=_SERVER, code="not_implemented"),
    Answer(status=502, message="The engine broke off.", kind=_SERVER, code="engine_failed"),
    ANSWERS["engine_down"],
    Answer(status=504, message="The engine took too long.", kind=_SERVER, code="engine_timeout"),
)
"""These replace HAProxy's HTML pages, for each status that HAProxy 2.4 knows.

HAProxy still answers with HTML if it cannot parse a request or its head arrives too slowly: see docs/gateway.md.
"""

LATER_ERRORS = (Answer(status=422, message="The gateway cannot process this request.", code="unprocessable_request"),)
"""The same for statuses that later releases know and HAProxy 2.4 rejects."""


def waited_or_down() -> str:
    """Return the arguments of `http-error` for HAProxy's 503, which has two causes.

    If the cause is a full queue, haproxy.cfg.j2 changes the status to 429 (`http-after-response set-status`).
    """
    waited, down = ANSWERS["waited_too_long"], ANSWERS["engine_down"]

    def either(one: str, other: str) -> str:
        return f'%[lua.waited,iif("{one}","{other}")]'

    chosen = Answer(status=down.status, message="MESSAGE", kind="KIND", code="CODE", headers=down.headers).body
    body = (
        chosen.replace("MESSAGE", either(waited.message, down.message))
        .replace("KIND", either(waited.kind, down.kind))
        .replace("CODE", either(waited.code, down.code))
    )
    return _directive(down.status, "lf-string", body, down.headers)


def _directive(status: int, how: str, body: str, headers: tuple[tuple[str, str], ...]) -> str:
    """Return an answer in HAProxy's syntax: text in single quotes is taken literally."""
    words = [f"status {status} content-type application/json {how} '{body}'"]
    return " ".join(words + [f"hdr {name} '{value}'" for name, value in headers])
