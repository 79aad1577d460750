"""An SSH tunnel from the engine's host, which is behind NAT, to the gateway's host, which clients reach.

The engine's host dials, and dials again after a cut. The engine's port and the watcher's then appear on the loopback of
the gateway's host, where the gateway expects an engine. Each has its own connection: a gateway's host of an earlier
release permits the engine's port alone, and must go on serving. The user that dials in may do nothing else. Does not
open the firewall: SSH is open already.
"""

from collections.abc import Iterator, Sequence

from core.ports import AGENT_PORT
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.access.tunnel_keys import TunnelKeys
from provisioning.converge.replace_resource import replace_resource
from provisioning.converge.resources import (
    Directory,
    File,
    Packages,
    Resource,
    SshdFile,
    Unit,
    User,
)
from provisioning.roles.gateway.given_key import with_engine_key
from provisioning.roles.host.guard import engine_guard, forwarded_guard
from provisioning.roles.host.layout import CONFIG_DIR, TUNNEL_UNIT, TUNNEL_WATCH_UNIT
from provisioning.roles.host.sshd_check import last_file_check
from provisioning.roles.host.sshd_settings import sshd_settings
from provisioning.ssh.known_hosts import known_hosts_text
from provisioning.ssh.target import SshTarget
from provisioning.templates.render import render
from serving.spec.models import ServingSpec

USER = "llm-tunnel"
FOLDER = f"{CONFIG_DIR}/tunnel"
PRIVATE_KEY = f"{FOLDER}/id_ed25519"
KNOWN_HOSTS = f"{FOLDER}/known_hosts"
AUTHORIZED_KEYS = f"{FOLDER}/authorized_keys"
SSHD_FILE = "/etc/ssh/sshd_config.d/20-llm-tunnel.conf"

ANSWER_TIMEOUT_S = 120
"""How long a provision waits for the gateway's end, which may be provisioned at the same time."""

ALIVE_INTERVAL_S = 10
ALIVE_COUNT = 3
"""Both ends notice a dead connection after 30 s. Until the gateway's end has noticed, its ports are in use and a new
connection is refused."""

REFUSED_PAUSE_S = 15
"""Between two tries to forward the watcher's port, which the gateway's host may not permit yet."""


def tunnel(outputs: StackOutputs, host: HostRecord, keys: TunnelKeys, far_end: HostRecord) -> list[Resource]:
    """Return what `host` needs as an end of the stack's tunnel; empty for a stack without a tunnel.

    `far_end` is the gateway's host, with the address and port that the engine's host dials.
    """
    if outputs.tunnel is None:
        return []
    ports = (outputs.serving_of(host).port, AGENT_PORT)
    common: list[Resource] = [User(name=USER), Directory(path=CONFIG_DIR), Directory(path=FOLDER)]
    if host.name == outputs.tunnel.engine:
        return [*common, *_dialling(far_end, ports[0], keys)]
    return [*common, *_answering(ports, keys)]


def shared(resources: Sequence[Resource], serving: ServingSpec, keys: TunnelKeys) -> list[Resource]:
    """Return a role's list as the hosts of a tunnel need it.

    Both hosts get vLLM's key. The engine's guard also lets the tunnel's user in.
    """
    if serving.engine == "vllm":
        resources = with_engine_key(resources, keys.engine)
    closed = engine_guard(serving)
    if closed not in resources:
        return list(resources)
    return [User(name=USER), *replace_resource(resources, closed.id, engine_guard(serving, USER))]


def _dialling(far_end: HostRecord, engine_port: int, keys: TunnelKeys) -> Iterator[Resource]:
    """Yield what the engine's host needs."""
    yield Packages(name="tunnel", present=("openssh-client",))
    yield File(path=PRIVATE_KEY, content=keys.private, owner=USER, group=USER, mode=0o600, after=(f"user:{USER}",))
    yield File(path=KNOWN_HOSTS, content=known_hosts_text((SshTarget.of(far_end),)))
    ssh = (
        *("/usr/bin/ssh", "-T", "-F", "none", "-i", PRIVATE_KEY, "-p", str(far_end.ssh_port)),
        *_options(
            BatchMode="yes",
            ConnectTimeout="10",
            ExitOnForwardFailure="yes",
            GlobalKnownHostsFile="/dev/null",
            IdentitiesOnly="yes",
            ServerAliveCountMax=str(ALIVE_COUNT),
            ServerAliveInterval=str(ALIVE_INTERVAL_S),
            StrictHostKeyChecking="yes",
            UpdateHostKeys="no",
            UserKnownHostsFile=KNOWN_HOSTS,
        ),
    )
    login = f"{USER}@{far_end.address}"
    for unit, what, port, pause_s in (
        (TUNNEL_UNIT, "the engine", engine_port, 0),
        (TUNNEL_WATCH_UNIT, "the engine's watcher", AGENT_PORT, REFUSED_PAUSE_S),
    ):
        text = render(
            "llm-tunnel.service.j2",
            what=what,
            user=USER,
            far_end=far_end.name,
            knock=(*ssh, login),
            command=(*ssh, "-N", "-R", f"127.0.0.1:{port}:127.0.0.1:{port}", login),
            pause_s=pause_s,
        )
        file = File(path=f"/etc/systemd/system/{unit}", content=text)
        yield file
        needed = (f"file:{PRIVATE_KEY}", f"file:{KNOWN_HOSTS}", file.id)
        yield Unit(name=unit, restart_on=needed, ready_timeout_s=ANSWER_TIMEOUT_S, after=("packages:tunnel", *needed))


def _answering(ports: tuple[int, ...], keys: TunnelKeys) -> Iterator[Resource]:
    """Yield what the gateway's host needs: a user without a shell that may listen on loopback ports.

    The user may log in only after these ports are guarded.
    """
    guard = forwarded_guard(ports, User(name=USER))
    yield from guard
    listens = [f"127.0.0.1:{port}" for port in ports]
    permitted = ",".join(f'permitlisten="{each}"' for each in listens)
    allowed = f'restrict,port-forwarding,{permitted},command="/bin/false"'
    yield File(
        path=AUTHORIZED_KEYS,
        content=f"{allowed} {keys.public}\n",
        after=(f"user:{USER}", *(each.id for each in guard[-2:])),
    )
    content = render(
        "sshd-tunnel.conf.j2",
        user=USER,
        authorized_keys=AUTHORIZED_KEYS,
        listens=listens,
        alive_interval_s=ALIVE_INTERVAL_S,
        alive_count=ALIVE_COUNT,
    )
    # Last, because a Match block extends to the end of its file.
    yield from sshd_settings(SshdFile(path=SSHD_FILE, content=content, check=last_file_check()), "tunnel")


def _options(**values: str) -> Iterator[str]:
    for name, value in values.items():
        yield from ("-o", f"{name}={value}")
