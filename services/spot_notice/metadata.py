"""One request to the metadata service of a cloud, which answers on a link-local address without TLS or proxy."""

import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException

ANSWER_S = 2.0
LONGEST = 65536


class SilentError(Exception):
    """The service did not answer."""


@dataclass(frozen=True)
class Reply:
    """An answer with any status."""

    status: int
    text: str
    headers: Mapping[str, str]


def ask(method: str, url: str, headers: Mapping[str, str], timeout_s: float = ANSWER_S) -> Reply:
    """Return the answer. Raises SilentError without one."""
    request = urllib.request.Request(url, method=method, headers=dict(headers))  # noqa: S310  # link-local
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            return Reply(answer.status, answer.read(LONGEST).decode("utf-8", "replace"), dict(answer.headers.items()))
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, "", dict(error.headers.items()))
    except (OSError, HTTPException) as error:
        raise SilentError(str(getattr(error, "reason", error)) or type(error).__name__) from error


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The service never redirects; who does is not the service."""

    def redirect_request(self, *_: object) -> None:
        return None
