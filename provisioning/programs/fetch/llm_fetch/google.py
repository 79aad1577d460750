"""Requests to Google Cloud Storage, with the token of the machine's service account or of this run.

Token: GOOGLE_OAUTH_ACCESS_TOKEN, else the metadata server's. Without a token only a public bucket can be read.
STORAGE_EMULATOR_HOST names another server, GCE_METADATA_HOST another metadata server, as for Google's libraries.
"""

from __future__ import annotations

import json
import os
import urllib.parse
import urllib.request

STORAGE = "https://storage.googleapis.com"
METADATA = "metadata.google.internal"
TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105  # a path
METADATA_S = 2
"""Timeout of the metadata server: outside Google Cloud nothing answers to that name."""


def request(method: str, bucket: str, key: str, body: bytes | None = None) -> urllib.request.Request:
    """Return the request for one object; with PUT, `body` becomes its content."""
    base = os.environ.get("STORAGE_EMULATOR_HOST", STORAGE).rstrip("/")
    url = f"{base}/{bucket}/{urllib.parse.quote(key)}"
    made = urllib.request.Request(url, data=body, method=method)  # noqa: S310
    token = _token()
    if token:
        made.add_unredirected_header("Authorization", "Bearer " + token)
    return made


def _token() -> str:
    """Return the token; empty if there is none. Each call queries it, because it expires within the hour."""
    handed = os.environ.get("GOOGLE_OAUTH_ACCESS_TOKEN", "")
    if handed:
        return handed
    host = os.environ.get("GCE_METADATA_HOST", METADATA)
    asked = urllib.request.Request(f"http://{host}{TOKEN}", headers={"Metadata-Flavor": "Google"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(asked, timeout=METADATA_S) as answer:
            return str(json.load(answer)["access_token"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
