"""HTTPS as all sources need it: a token goes to the server that it is for, and to no other."""

from __future__ import annotations

import urllib.parse
import urllib.request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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
