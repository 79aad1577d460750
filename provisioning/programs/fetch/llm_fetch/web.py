"""HTTPS for all sources. Sends a token only to its own server, and retries after failures that may pass."""

from __future__ import annotations

import email.utils
import http.client
import os
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from .errors import FetchError, InterruptedTransferError, RangeRefusedError
from .json_text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

TIMEOUT_S = 60

TRIES = 5
"""Pauses before retries if a server does not answer or breaks off: 30 seconds in all."""

BUSY_TRIES = 9
"""Pauses before retries if a server answers 429 or 503 without Retry-After: some 3 minutes in all."""

PATIENCE_S = float(os.environ.get("LLM_FETCH_PATIENCE_S") or 900)
"""Seconds that the fetch waits in all for a server that asks it to wait."""

LONGEST_PAUSE_S = 60
PASSING = (http.client.REQUEST_TIMEOUT, 425, http.client.TOO_MANY_REQUESTS)
PAGE = (b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body")
PROXY = "a proxy or a login page answers in its place; check the host's internet access (docs/adapters.md)"

said_to = [sys.stdout]
"""Where waits are reported: standard output, or another stream if that is for JSON."""


class Redirect(urllib.request.HTTPRedirectHandler):
    """Does not send the token to the storage servers that a hub redirects to."""

    def redirect_request(  # noqa: PLR0917  # urllib's own
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any
    ) -> Any:
        """Return the request to `newurl`, with the token only for the same server.

        Raises FetchError for a redirect away from https.
        """
        schemes = [urllib.parse.urlsplit(url).scheme for url in (req.full_url, newurl)]
        if schemes[1] not in ("", "https", schemes[0]):
            raise FetchError(
                f"{urllib.parse.urlsplit(req.full_url).netloc} redirects to {schemes[1]}://, not to https://"
            )
        # Before Python 3.11, urllib refuses 308 here; for a GET, 307 means the same (RFC 9110, 15.4).
        known = http.client.TEMPORARY_REDIRECT if code == http.client.PERMANENT_REDIRECT else code
        again = super().redirect_request(req, fp, known, msg, headers, newurl)
        token = req.unredirected_hdrs.get("Authorization")
        if again is not None and token and urllib.parse.urlsplit(newurl)[:2] == urllib.parse.urlsplit(req.full_url)[:2]:
            again.add_unredirected_header("Authorization", token)
        return again

    def http_error_302(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any) -> Any:
        """Return the answer to the next request. Raises like `redirect_request`, and ValueError for a bad address."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except (FetchError, ValueError):
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def opener() -> urllib.request.OpenerDirector:
    """Return the opener for requests."""
    return urllib.request.build_opener(Redirect())


def ask(
    opened_by: urllib.request.OpenerDirector,
    request: urllib.request.Request,
    server: str,
    refusal: Callable[[int], str],
) -> Any:
    """Return the answer to `request`. `refusal` returns the text for a status that a retry cannot change.

    Raises FetchError for such a status, InterruptedTransferError for a failure that may pass.
    """
    try:
        return opened_by.open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code >= http.client.INTERNAL_SERVER_ERROR or error.code in PASSING:
            busy = error.code in (http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE)
            raise InterruptedTransferError(
                f"{server} answers {error.code}", _wait_s(error.headers), busy=busy
            ) from error
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and request.has_header("Range"):
            raise RangeRefusedError(f"{server} answers {error.code}") from error
        raise FetchError(refusal(error.code) + _said(error.headers)) from error
    except OSError as error:
        raise InterruptedTransferError(f"cannot reach {server} ({getattr(error, 'reason', error)})") from error
    except ValueError as error:  # of urllib
        raise FetchError(f"{server} redirects to an invalid address ({shown(str(error))})") from error


def content_of(open_it: Callable[[], Any], limit: int, failed: str = "") -> bytes:
    """Return the content of a small file, all of it, or `limit` bytes and one more. Raises FetchError."""

    def read() -> bytes:
        with open_it() as answer:
            content: bytes = answer.read(limit + 1)
            missing = getattr(answer, "length", None)  # bytes that an HTTP answer announced and did not send
            if missing and len(content) <= limit:
                raise InterruptedTransferError(f"the answer ended {missing} bytes early")
        return content

    result: bytes = in_some_tries(read, failed)
    return result


def _wait_s(headers: Any) -> float | None:
    """Return the seconds of Retry-After, a number or a date by the server's clock; None without the header."""
    value = str(headers.get("Retry-After") or "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        until = email.utils.parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    try:
        now = email.utils.parsedate_to_datetime(str(headers.get("Date"))).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        now = time.time()
    return max(0.0, until - now)


def _said(headers: Any) -> str:
    """Return a hub's own message about its refusal, as the end of a line."""
    message = str(headers.get("X-Error-Message") or "")[:200]
    return f" (it says: {shown(message, 200)})" if message else ""


def is_page(start: bytes) -> bool:
    """Return whether content that begins with `start` is a web page."""
    return start.lstrip(b"\xef\xbb\xbf \t\r\n")[:20].lower().startswith(PAGE)


def in_some_tries(work: Callable[[], Any], failed: str = "") -> Any:
    """Return the result of `work` from one of several tries. Raises FetchError: `failed`, and the last try's reason.

    If a server says when to ask again, waits until then, but at most PATIENCE_S in all.
    """
    deadline = time.monotonic() + PATIENCE_S
    attempt = 0
    while True:
        try:
            return work()
        except (FileNotFoundError, PermissionError, NotADirectoryError):
            raise  # an error of a local folder: a retry does not help
        except (InterruptedTransferError, OSError, http.client.HTTPException) as error:
            reason = error
        asked_s = getattr(reason, "wait_s", None)
        if asked_s is None:
            attempt += 1
            if attempt >= (BUSY_TRIES if getattr(reason, "busy", False) else TRIES):
                raise FetchError(f"{failed}{reason}") from reason
        pause_s = min(attempt * attempt, LONGEST_PAUSE_S) if asked_s is None else asked_s + _spread_s(asked_s)
        if time.monotonic() + pause_s > deadline:
            why = f"{failed}{reason}, and the server accepts no request for {pause_s:.0f} s"
            raise FetchError(f"{why}; run the same command again after that") from reason
        if asked_s is not None:
            print(f"{reason}; trying again in {pause_s:.0f} s", file=said_to[0], flush=True)
        time.sleep(pause_s)


def _spread_s(wait_s: float) -> float:
    """Return some random extra seconds, so that hosts and files with the same wait do not all return at once."""
    return random.uniform(0, 1 + wait_s / 10)  # noqa: S311  # no secret
