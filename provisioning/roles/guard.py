"""Who on a host may speak to an engine, and answer in its place: its port on loopback is closed to every other account.

Ollama has no key of its own, and vLLM asks for one below /v1 only. Whoever took the port while the engine is down would
be sent that key and what clients ask. Does not know the world outside: the firewall never lets this port in.
"""

from provisioning.converge.resources import File, Packages, Resource, Unit, User
from provisioning.render import render
from provisioning.roles.layout import CONFIG_DIR, GATEWAY_USER, GUARD_UNIT, SERVICE_USER
from serving.spec import ServingSpec

RULES = f"{CONFIG_DIR}/engine-guard.nft"
TABLE = "llm_engine"
LOAD = ("/usr/sbin/nft", "--file", RULES)
UNIT_FILE = f"/etc/systemd/system/{GUARD_UNIT}"

PACKAGE = "nftables"

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
    )
    unit_file = File(path=UNIT_FILE, content=content)
    needed = (rules.id, unit_file.id)
    unit = Unit(name=GUARD_UNIT, reload_on=(rules.id,), restart_on=(unit_file.id,), after=needed)
    return [package, GATEWAY, rules, unit_file, unit]


def _rules(port: int, users: tuple[str, ...], listener: str, after: tuple[str, ...]) -> File:
    """Return the file that lets root and `users` in, and nobody but root and `listener` answer."""
    words = {"users": ("root", *users), "listeners": ("root", listener)}
    return File(
        path=RULES,
        content=render("engine-guard.nft.j2", table=TABLE, port=port, **words),
        check=("nft", "--check", "--file", "{path}"),
        after=after,
    )
