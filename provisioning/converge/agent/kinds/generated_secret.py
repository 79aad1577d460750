"""A file with a random secret that is made here and never leaves."""

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


def look(wishes: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:
    """Read metadata only; the secrets that are there are masked from now on."""

    def finish() -> list[Fact]:
        facts = [look_at(wish.path) for wish in wishes]
        for wish, fact in zip(wishes, facts):
            if fact["type"] == "file":
                _mask(wish, host)
        return facts

    return finish


def _mask(wish: Any, host: Host) -> None:
    """Mask the secret inside the file, and the whole content in case the template has changed since."""
    with open(wish.path, encoding="utf-8", errors="replace") as stream:
        content = stream.read()
    before, _, after = wish.template.partition("{secret}")
    if content.startswith(before) and content.endswith(after):
        host.events.keep_secret(content[len(before) : len(content) - len(after)])
    host.events.keep_secret(content)


def plan(wish: Any, fact: Fact) -> list[Change]:
    """Return `create` for a missing file, else metadata; what is in the file is never replaced."""
    if fact["type"] == "absent":
        return [("make", "create")]
    if fact["type"] != "file":
        return [in_the_way(fact)]
    return plan_metadata(wish, fact)


def apply(wish: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:  # noqa: ARG001
    """Make the secret, or set the file's metadata."""
    if changes[0][0] != "make":
        set_metadata(wish.path, wish.owner, wish.group, wish.mode)
        return
    import base64  # needed once in a host's life

    secret = base64.urlsafe_b64encode(os.urandom(SECRET_BYTES)).decode().rstrip("=")
    host.events.keep_secret(secret)
    content = wish.template.replace("{secret}", secret).encode()
    write_file(wish.path, content, owner=wish.owner, group=wish.group, mode=wish.mode)
