"""Who on a host may speak to an engine, and answer in its place: its ports on loopback are closed to other accounts.

Ollama has no key of its own, and vLLM asks for one below /v1 only. Whoever took the port while the engine is down would
be sent that key and what clients ask. Does not know the world outside: the firewall never lets this port in.
"""

from provisioning.converge.resources import File, Packages, Resource, Unit, User
from provisioning.roles.host.layout import GATEWAY_USER, GUARD_RULES, GUARD_TABLE, GUARD_UNIT, NFT_RULES, SERVICE_USER
from provisioning.roles.host.nft_watch import PROGRAM, loaded, nft_watch
from provisioning.templates.render import render
from serving.spec.models import ServingSpec

RULES = GUARD_RULES
TABLE = GUARD_TABLE
LOAD = (NFT_RULES, "load", RULES, TABLE)
LOADED = "engine-guard"
"""Name of the command that loads rules which the kernel has lost."""
UNIT_FILE = f"/etc/systemd/system/{GUARD_UNIT}"

PACKAGE = "nftables"

MARK = "0x01000000"
"""The bit of a loopback connection's mark in conntrack that says who began it; other programs have lower bits."""

GATEWAY = User(name=GATEWAY_USER, home="/var/lib/haproxy")
"""As Debian's package makes it; it must be known before the package comes, for the rules name it."""


def engine_guard(serving: ServingSpec, *neighbours: str) -> File:
    """Return the rules of an engine's own host, which its unit loads before each start.

    `neighbours` may come in beside the gateway's user, and are in the list before.
    """
    made = (GATEWAY.name, *neighbours)
    after = (f"packages:{serving.engine}", *(f"user:{user}" for user in made))
    return _rules(serving.port, (SERVICE_USER, *made), SERVICE_USER, after)


def forwarded_guard(port: int, listener: User) -> list[Resource]:
    """Return what guards, from boot on, a port of the gateway's host behind which sshd brings an engine elsewhere.

    sshd listens there as `listener`, who is in the list before.
    """
    package = Packages(name="guard", present=(PACKAGE,))
    rules = _rules(port, (GATEWAY.name,), listener.name, (package.id, GATEWAY.id, listener.id))
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
    """Return what loads an engine's guard now, before its first start, and again when the kernel has lost it."""
    return [*nft_watch(), loaded(LOADED, RULES, TABLE, after=(PROGRAM.id, rules.id))]


def _rules(port: int, users: tuple[str, ...], listener: str, after: tuple[str, ...]) -> File:
    """Return the file that lets root and `users` in, and nobody but root and `listener` answer.

    On its other ports `listener` answers to root and to itself alone.
    """
    words = {"users": ("root", *users), "listeners": ("root", listener)}
    return File(
        path=RULES,
        content=render("engine-guard.nft.j2", table=TABLE, port=port, mark=MARK, **words),
        check=("nft", "--check", "--file", "{path}"),
        after=after,
    )
