"""HTTPS as all sources need it: a token goes to its own server alone, and what may work at another try gets one."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request

from .errors import FetchError, InterruptedTransferError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

TIMEOUT_S = 60
TRIES = 5


class Redirect(urllib.request.HTTPRedirectHandler):
    """Keeps a token from the storage servers that a hub sends us to."""

    def redirect_request(  # noqa: PLR0917  # urllib's own
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any
    ) -> Any:
        """Return the request to `newurl`, with the token only if it goes to the same server."""
        again = super().redirect_request(req, fp, code, msg, headers, newurl)
        token = req.unredirected_hdrs.get("Authorization")
        if again is not None and token and urllib.parse.urlsplit(newurl)[:2] == urllib.parse.urlsplit(req.full_url)[:2]:
            again.add_unredirected_header("Authorization", token)
        return again


def opener() -> urllib.request.OpenerDirector:
    """Return what opens requests."""
    return urllib.request.build_opener(Redirect())


def ask(
    opened_by: urllib.request.OpenerDirector,
    request: urllib.request.Request,
    server: str,
    refusal: Callable[[int], str],
) -> Any:
    """Return the answer to `request`. `refusal` says in words what a status means that no other try will change.

    Raises FetchError for that, InterruptedTransferError for what may pass.
    """
    try:
        return opened_by.open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code >= http.client.INTERNAL_SERVER_ERROR or error.code == http.client.TOO_MANY_REQUESTS:
            raise InterruptedTransferError(f"{server} answers {error.code}") from error
        raise FetchError(refusal(error.code)) from error
    except OSError as error:
        raise InterruptedTransferError(f"no way to {server} ({getattr(error, 'reason', error)})") from error


def content_of(open_it: Callable[[], Any], limit: int, failed: str = "") -> bytes:
    """Return the content of a small file, all of it, or `limit` bytes and one more. Raises FetchError."""

    def read() -> bytes:
        with open_it() as answer:
            content: bytes = answer.read(limit + 1)
            missing = getattr(answer, "length", None)  # of an HTTP answer: what it announced and did not send
            if missing and len(content) <= limit:
                raise InterruptedTransferError(f"the answer ended {missing} bytes early")
        return content

    result: bytes = in_some_tries(read, failed)
    return result


def in_some_tries(work: Callable[[], Any], failed: str = "") -> Any:
    """Return what `work` returns, in one of several tries. Raises FetchError: `failed`, and why the last one did."""
    reason: Exception | None = None
    for attempt in range(TRIES):
        time.sleep(attempt * attempt)
        try:
            return work()
        except (InterruptedTransferError, OSError, http.client.HTTPException) as error:
            reason = error
    raise FetchError(f"{failed}{reason}")
