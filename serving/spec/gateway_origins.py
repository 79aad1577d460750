"""Origins whose pages may call the gateway from a browser (CORS)."""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator

_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:(?P<port>[1-9][0-9]{0,4}))?"
)
_DEFAULT_PORT = {"https": "443", "http": "80"}
_MAX_PORT = 65535


def _checked(text: str) -> str:
    """Return an origin as browsers write it. Raises ValueError otherwise."""
    if text == "*":
        raise ValueError("lets every page use the keys that it finds; write each origin, e.g. https://app.example.com")
    if text == "null":
        raise ValueError("is the origin of files and sandboxed frames, which any page can make; leave it out")
    if "*" in text:
        raise ValueError("is a pattern, which browsers do not know; write each origin, e.g. https://app.example.com")
    if "://" not in text:
        raise ValueError("has no scheme; write e.g. https://app.example.com")
    found = _ORIGIN.fullmatch(text)
    if not found:
        raise ValueError(
            "is not an origin; write scheme, host in lower case, and port, no path: https://app.example.com"
        )
    scheme, host, port = found["scheme"], found["host"], found["port"]
    if port == _DEFAULT_PORT[scheme]:
        raise ValueError(f"names the port that browsers leave out; write {scheme}://{host}")
    if port and int(port) > _MAX_PORT:
        raise ValueError(f"has a port above {_MAX_PORT}; write e.g. https://app.example.com:8443")
    if scheme == "http" and not _is_near(host):
        raise ValueError(f"sends keys through a page that anyone on the way can change; write https://{host}")
    return text


def _is_near(host: str) -> bool:
    """Return whether a page of `host` comes from this computer or a private network."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_private
    except ValueError:
        return False


Origin = Annotated[str, AfterValidator(_checked)]
