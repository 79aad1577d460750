"""A file with a random secret that is made on the host and never leaves it."""

from __future__ import annotations

import os

from ..paths import in_the_way, look_at, plan_metadata, set_metadata, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

    from ..host import Host
    from ..paths import Change

    Fact = dict[str, Any]

SECRET_BYTES = 32


def look(resources: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:
    """Read metadata only; mask the existing secrets from now on."""

    def finish() -> list[Fact]:
        facts = [look_at(resource.path) for resource in resources]
        for resource, fact in zip(resources, facts):
            if fact["type"] == "file":
                _mask(resource, host)
        return facts

    return finish


def _mask(resource: Any, host: Host) -> None:
    """Mask the secret inside the file, and the whole content in case the template has changed since."""
    with open(resource.path, encoding="utf-8", errors="replace") as stream:
        content = stream.read()
    before, _, after = resource.template.partition("{secret}")
    if content.startswith(before) and content.endswith(after):
        host.events.keep_secret(content[len(before) : len(content) - len(after)])
    host.events.keep_secret(content)


def plan(resource: Any, fact: Fact) -> list[Change]:
    """Return `create` for a missing file, else changes of metadata; the content is never replaced."""
    if fact["type"] == "absent":
        return [("make", "create")]
    if fact["type"] != "file":
        return [in_the_way(fact)]
    return plan_metadata(resource, fact)


def apply(resource: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:  # noqa: ARG001
    """Make the secret, or set the file's metadata."""
    if changes[0][0] != "make":
        set_metadata(resource.path, resource.owner, resource.group, resource.mode)
        return
    import base64  # a host needs it only once

    secret = base64.urlsafe_b64encode(os.urandom(SECRET_BYTES)).decode().rstrip("=")
    host.events.keep_secret(secret)
    content = resource.template.replace("{secret}", secret).encode()
    write_file(resource.path, content, owner=resource.owner, group=resource.group, mode=resource.mode)
