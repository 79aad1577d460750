"""Which accounts of a host may connect to an engine's loopback ports or listen on them. All others are refused.

Ollama has no key, and vLLM checks its key below /v1 only. A program that took the port while the engine is down would
receive that key and the clients' requests. The firewall never lets this port in from outside.
"""

from provisioning.converge.resources import File, Packages, Resource, Unit, User
from provisioning.roles.host.layout import (
    GATEWAY_USER,
    GUARD_RULES,
    GUARD_TABLE,
    GUARD_UNIT,
    NFT_RULES,
    SERVICE_USER,
    WATCH_USER,
)
from provisioning.roles.host.nft_watch import PROGRAM, loaded, nft_watch
from provisioning.templates.render import render
from serving.spec.models import ServingSpec

RULES = GUARD_RULES
TABLE = GUARD_TABLE
LOAD = (NFT_RULES, "load", RULES, TABLE)
LOADED = "engine-guard"
"""Name of the command that reloads rules which the kernel has lost."""
UNIT_FILE = f"/etc/systemd/system/{GUARD_UNIT}"

PACKAGE = "nftables"

MARK = "0x01000000"
"""The bit of a loopback connection's conntrack mark that says who opened it; other programs use lower bits."""

GATEWAY = User(name=GATEWAY_USER, home="/var/lib/haproxy")
"""The user of Debian's package; it must exist before the package, because the rules name it."""

WATCHER = User(name=WATCH_USER)
"""The user of services/engine_watch, which asks the engine for its counters and for single tokens."""


def engine_guard(serving: ServingSpec, *neighbours: str) -> File:
    """Return the rules of an engine's host, which its unit loads before each start.

    `neighbours` are users that may connect besides the gateway's and the watcher's. The resources of all of them come
    earlier in the list.
    """
    made = (GATEWAY.name, WATCHER.name, *neighbours)
    after = (f"packages:{serving.engine}", *(f"user:{user}" for user in made))
    return _rules((serving.port,), (SERVICE_USER, *made), SERVICE_USER, after)


def forwarded_guard(ports: tuple[int, ...], listener: User) -> list[Resource]:
    """Return the guard, from boot on, of the ports of the gateway's host that sshd forwards to an engine's host.

    sshd listens there as `listener`, a user that comes earlier in the list.
    """
    package = Packages(name="guard", present=(PACKAGE,))
    rules = _rules(ports, (GATEWAY.name,), listener.name, (package.id, GATEWAY.id, listener.id))
    content = render(
        "nft-table.service.j2",
        description="Who may speak to the engine that a tunnel brings",
        role="tunnel",
        rules=RULES,
        table=TABLE,
        program=NFT_RULES,
        before="",
        folders=[],
    )
    unit_file = File(path=UNIT_FILE, content=content)
    needed = (rules.id, unit_file.id)
    unit = Unit(name=GUARD_UNIT, reload_on=(rules.id,), restart_on=(unit_file.id,), after=(PROGRAM.id, *needed))
    return [package, GATEWAY, rules, unit_file, *nft_watch(), unit, loaded(LOADED, RULES, TABLE, after=(unit.id,))]


def kept(rules: File) -> list[Resource]:
    """Return the resources that load an engine's guard before its first start, and again if the kernel loses it."""
    return [*nft_watch(), loaded(LOADED, RULES, TABLE, after=(PROGRAM.id, rules.id))]


def _rules(ports: tuple[int, ...], users: tuple[str, ...], listener: str, after: tuple[str, ...]) -> File:
    """Return the file that lets root and `users` connect to `ports`, and only root and `listener` answer there.

    On other ports `listener` answers only root and itself.
    """
    nft_set = f"{{ {', '.join(map(str, ports))} }}" if len(ports) > 1 else str(ports[0])
    words = {"users": ("root", *users), "listeners": ("root", listener)}
    return File(
        path=RULES,
        content=render("engine-guard.nft.j2", table=TABLE, port=nft_set, mark=MARK, **words),
        check=("nft", "--check", "--file", "{path}"),
        after=after,
    )
