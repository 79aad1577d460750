"""Hosts that are provisioned under two stack names: each name has its own API keys, and the last provision wins.

Reads the endpoints that `provision` has written on this computer, and connects to no host.
"""

from core.console import say
from core.paths import state_dir
from core.reading.strict_json import parse_object
from serving.endpoint import Endpoint, endpoint_file


def mention_other_name(endpoint: Endpoint) -> None:
    """Warn if `endpoint` was last provisioned under another name, whose clients now lose their keys."""
    own = endpoint_file(endpoint.stack)
    since = own.stat().st_mtime_ns if own.exists() else 0
    for path in sorted((state_dir() / "stacks").glob(f"*/{own.name}")):
        other = path.parent.name
        if other != endpoint.stack and path.stat().st_mtime_ns > since:
            for url in sorted(_urls(path.read_bytes()) & set(endpoint.urls)):
                say(f"! {url} was last provisioned as {other}: its API keys are replaced by those of {endpoint.stack}")


def _urls(text: bytes) -> set[str]:
    """Return the URLs of an endpoint; empty for a file of another version."""
    try:
        content = parse_object(text)
        return {content["url"], *content["other_urls"]}
    except (ValueError, KeyError, TypeError):
        return set()
