"""The outputs of a stack: its hosts, and what they serve. This is the contract between infrastructure and provisioning.

Written as JSON by the Pulumi program, or as YAML by hand for hosts that exist already.
"""

import re
from collections.abc import Collection, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, StrictBool, model_validator

from catalog.clouds import CloudName
from core.ports import SSH_PORT
from core.reading.frozen import Frozen
from core.reading.rules import Problem, StackName, matching, one_of, refuse, twice
from infra.config.models.proxy import ProxySpec
from infra.contract.address import Address, is_plain_ip
from infra.contract.data_dir import DataDir
from infra.contract.host_key_line import host_key_line
from infra.contract.stack_placement import Placement, exported_placement
from serving.spec.models import GatewaySpec, ServingSpec
from serving.spec.pool_name import MAIN, OTHER_NAME, PoolName, is_reserved, names_are_free
from serving.spec.rules import door_ports_differ, gateway_fits_servings

HostName = Annotated[
    str,
    matching(
        r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        "is not a host name; write lower-case letters, digits and -, at most 63, with no - at either end",
    ),
]

LOGIN = r"([A-Za-z0-9][A-Za-z0-9._-]*\\)?[A-Za-z0-9_][A-Za-z0-9_.-]*(@[A-Za-z0-9][A-Za-z0-9.-]*)?"

Login = Annotated[
    str,
    matching(
        LOGIN,
        "is not a login; write letters, digits, `.`, `_` and -, e.g. admin, or DOMAIN\\user or user@domain",
    ),
]
"""A local account, or one of a directory service as sssd and winbind name it."""

HostKey = Annotated[str, AfterValidator(host_key_line)]
"""A line of `ssh-keyscan` without the host, e.g. `ssh-ed25519 AAAA…`."""


def _network(text: str) -> str:
    """Return `text` if it is a network. The config checks its size."""
    try:
        ip_network(text)
    except ValueError:
        raise ValueError("is not an address range; write one like 203.0.113.7/32") from None
    return text


Cidr = Annotated[str, AfterValidator(_network)]


def _port(text: str) -> str:
    """Return `text` if it is one port or a range of ports, with tcp or udp."""
    found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?/(?:tcp|udp)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2] or found[1]) < 1 << 16:
        raise ValueError("is not a port with its protocol; write one like 51820/udp or 6000-6010/tcp")
    return text


PortWord = Annotated[str, AfterValidator(_port)]


ComputeCapability = Annotated[
    str, matching(r"[1-9]\d?\.\d", "is not a compute capability; write it as nvidia-smi does, in quotes, e.g. '8.9'")
]


class Gpu(Frozen):
    """The graphics processors of a host, all of one model."""

    model: str = Field(description="Name as in the GPU table, e.g. L4.")
    count: int = Field(ge=1)
    vram_gib: float = Field(gt=0, description="Memory of one GPU, in GiB.")
    compute_capability: ComputeCapability | None = Field(
        default=None, description="As `nvidia-smi --query-gpu=compute_cap` prints it. None: derived from `model`."
    )
    replace_driver: StrictBool = Field(
        default=False,
        description="Put the pinned NVIDIA driver in place of one that was not installed by llm-deploy, or is newer.",
    )


class NoticeFolder(Frozen):
    """A folder of a bucket to which a spot machine may add objects."""

    url: Annotated[
        str,
        matching(
            r"(s3|gs)://[a-z0-9][a-z0-9._-]+/([\w.-]+/)*",
            "is not a folder of a bucket; write one like s3://bucket/notices/",
        ),
    ] = Field(description="The folder, with a / at its end. Each machine adds to a folder of its name in it.")
    region: str | None = Field(default=None, description="Region of an S3 bucket. None: S3 is asked.")


class HostRecord(Frozen):
    """One host that is reached by SSH, and what the roles need to know about it."""

    name: HostName = Field(description="Name of the host, in results and for --host.")
    address: Address = Field(description="Where SSH connects: an IP address or a DNS name.")
    ssh_port: int = Field(default=SSH_PORT, ge=1, le=65535)
    user: Login = Field(description="Login that may use sudo without a password, or root.")
    host_keys: tuple[HostKey, ...] = Field(
        min_length=1, description="Public host keys, known before the first connection. No other key is trusted."
    )
    identity_file: Path | None = Field(
        default=None, description="Private key. None: the SSH agent and OpenSSH's default files."
    )
    ssh_config: Path | None = Field(
        default=None,
        description="OpenSSH client config that leads to `address`: HostName, Port, IdentityFile, ProxyJump and "
        "ProxyCommand count. None: no config file is read.",
    )
    service_address: Address | None = Field(default=None, description="What clients connect to. None: `address`.")
    private_address: Address | None = Field(
        default=None, description="What other hosts of the stack connect to. None: `address`."
    )
    pool: PoolName = Field(default=MAIN, description="The pool of this host's engine: hosts with the same model.")
    cloud: CloudName = "existing"
    market: Literal["on_demand", "spot"] = Field(
        default="on_demand", description="spot: its cloud may take the machine back at short notice."
    )
    drain_on_rebalance: StrictBool = Field(
        default=False, description="Drain a spot machine as soon as AWS recommends to leave it."
    )
    notice_folder: NoticeFolder | None = Field(
        default=None, description="Where a spot machine writes its last records when its cloud takes it back."
    )
    virtualization: Literal["container", "vm", "metal"] = Field(
        default="vm", description="A container shares its kernel: no swap, clock or kernel setting of its own."
    )
    os_release: Literal["debian-12", "ubuntu-22.04", "ubuntu-24.04"] | None = Field(
        default=None, description="Distribution and version: which packages a bundle for a host without network holds."
    )
    cpu_count: int = Field(ge=1, description="Processors that the host has.")
    memory_gib: float = Field(gt=0, description="Memory that the host has, in GiB.")
    gpu: Gpu | None = None
    ignore_gpu: StrictBool = Field(
        default=False, description="Compute on the CPU of a host that has an NVIDIA GPU; `make smoke` fails otherwise."
    )
    data_dir: DataDir = Field(
        default="/var/lib/llm", description="Folder of models, adapters and environments on the host."
    )
    password_logins: StrictBool = Field(
        default=False,
        description="Leave sshd's password logins as the host has them, for people who work there; false: keys only.",
    )
    ssh_cidrs: tuple[Cidr, ...] = Field(
        default=(), description="Networks that may reach port 22. Empty: every network."
    )
    client_cidrs: tuple[Cidr, ...] = Field(
        default=(), description="Networks that may reach the gateway. Empty: every network."
    )
    proxy: ProxySpec | None = Field(default=None, description="Proxy through which the host reaches the internet.")
    open_ports: tuple[PortWord, ...] = Field(
        default=(), description="Ports of other programs that the firewall lets in, from anywhere, e.g. 51820/udp."
    )
    closed_ports: tuple[PortWord, ...] = Field(
        default=(), description="Ports of other programs that the firewall closes, e.g. 9100/tcp."
    )
    ends_at: AwareDatetime | None = Field(default=None, description="When the machine ends itself.")

    @model_validator(mode="after")
    def _gpu_is_used_or_not(self) -> Self:
        if self.gpu is not None and self.ignore_gpu:
            refuse([Problem("ignore_gpu", "is true although `gpu` is set", "leave one of them out")])
        return self

    @model_validator(mode="after")
    def _clients_can_name_it(self) -> Self:
        if "_" in self.client_address:
            key = "address" if self.service_address is None else "service_address"
            hint = "write as service_address what clients connect to: an IP address, or a name without `_`"
            refuse([Problem(key, "has an underscore, which is in no certificate", hint)])
        return self

    @model_validator(mode="after")
    def _other_hosts_can_name_it(self) -> Self:
        if "_" in (self.private_address or ""):
            hint = "write an IP address, or a name without `_`"
            refuse([Problem("private_address", "has an underscore, which is in no certificate", hint)])
        return self

    @model_validator(mode="after")
    def _port_is_open_or_closed(self) -> Self:
        both = [port for port in self.closed_ports if port in self.open_ports]
        refuse([Problem("closed_ports", f"{port} is in open_ports too", "leave one of them out") for port in both])
        return self

    @property
    def client_address(self) -> str:
        """The address that clients use and the certificate names."""
        return self.service_address or self.address

    @property
    def peer_address(self) -> str:
        """The address that other hosts of the stack connect to."""
        return self.private_address or self.address

    def at_home(self, folder: Path) -> Self:
        """Return the host with key and config at absolute paths: `~` is the user's home, others start at `folder`."""
        paths = {"identity_file": self.identity_file, "ssh_config": self.ssh_config}
        return self.model_copy(
            update={name: folder.resolve() / path.expanduser() for name, path in paths.items() if path is not None}
        )


class Hosts(Frozen):
    """Hosts with different names: results, certificates and --host use the name."""

    hosts: tuple[HostRecord, ...] = Field(min_length=1, description="The hosts, as in docs/inventory.md.")
    gateway_host: HostName | None = Field(
        default=None,
        description="The host with the gateway and no engine, in front of all others. None: each has both.",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        refuse(twice((host.name for host in self.hosts), "hosts"))
        return self

    @model_validator(mode="after")
    def _gateway_host_fits(self) -> Self:
        name, names = self.gateway_host, [host.name for host in self.hosts]
        if name is None:
            return self
        if name not in names:
            refuse([Problem("gateway_host", f"there is no host {name}", one_of(names, name))])
        if len(names) == 1:
            refuse(
                [Problem("gateway_host", "is the only host, so no engine is behind it", "add hosts, or leave it out")]
            )
        number = names.index(name)
        if not is_plain_ip(self.hosts[number].peer_address):
            key = "address" if self.hosts[number].private_address is None else "private_address"
            what = "is not an IP address, and the firewalls of the other hosts let in the gateway by its address"
            hint = "write the IP address that they see as private_address"
            refuse([Problem(f"hosts[{number}].{key}", what, hint)])
        addresses = [host.peer_address for host in self.hosts]
        hint = "write as private_address of each host what the others connect to"
        refuse(
            Problem(f"hosts[{number}].address", f"{address} is also that of {names[addresses.index(address)]}", hint)
            for number, address in enumerate(addresses)
            if addresses.index(address) < number
        )
        return self


def pools_fit(inventory: Hosts, pools: Collection[str]) -> Iterator[Problem]:
    """Every pool has a host, and every host a pool.

    `pools`: the names of those beside the one that `serving` describes. That one is main, or has any name if it is
    the only one.
    """
    yield from names_are_free(pools)
    if pools and inventory.gateway_host is None:
        yield Problem("pools", "needs one gateway in front of all pools", "name its host as gateway_host")
    engines = {index: each for index, each in enumerate(inventory.hosts) if each.name != inventory.gateway_host}
    found = {index: host.pool for index, host in engines.items()}
    for index, pool in found.items():
        if is_reserved(pool) and pool not in pools:
            yield Problem(f"hosts[{index}].pool", f"{pool} is a name that the gateway itself uses", OTHER_NAME)
    first = MAIN if pools else next(iter(found.values()))
    known = [first, *pools]
    if inventory.gateway_host is None:
        return
    for index, pool in found.items():
        if pool not in known:
            hint = one_of(known, pool) if pools else f"write {first}, or describe {pool} under pools"
            yield Problem(f"hosts[{index}].pool", f"there is no pool {pool}", hint)
    for pool in known:
        if pool not in found.values():
            key = "pools" if pool == first else f"pools.{pool}"
            yield Problem(key, f"no host is in pool {pool}", f"write pool: {pool} for a host, or leave the pool out")


class Tunnel(Frozen):
    """An engine behind NAT. Its host connects to another host, whose gateway serves the clients."""

    engine: HostName = Field(description="The host with the engine. It connects to the other host by SSH.")
    gateway: HostName = Field(description="The host that clients reach.")
    address: Address | None = Field(
        default=None,
        description="Where the engine's host reaches the gateway's. None: its `address`, or the HostName that its "
        "`ssh_config` has for it.",
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of the gateway's sshd as the engine's host reaches it. None: its `ssh_port`, or the Port "
        "that its `ssh_config` has for it.",
    )


class StackOutputs(Hosts):
    """All that provisioning needs. An inventory file has the same shape."""

    stack: StackName = Field(description="Name of this list of hosts. Results and keys are stored under it.")
    serving: ServingSpec = Field(description="What the hosts serve, as in docs/config.md.")
    pools: dict[PoolName, ServingSpec] = Field(
        default={}, description="What the hosts of other pools serve, by the pool. `serving` is for pool main."
    )
    gateway: GatewaySpec = GatewaySpec()
    tunnel: Tunnel | None = Field(default=None, description="For an engine behind NAT. None: each host has both.")
    placement: Placement | None = Field(
        default=None, description="Where the stack was put. None: its cloud rents no machines."
    )

    @model_validator(mode="before")
    @classmethod
    def _of_older_releases(cls, value: Any) -> Any:
        """Accept `lease`: stacks exported `placement` under that name before 0.2.0."""
        if isinstance(value, dict) and "lease" in value and "placement" not in value:
            others = {key: each for key, each in value.items() if key != "lease"}
            return others | {"placement": exported_placement(value)}
        return value

    def serving_of(self, host: HostRecord) -> ServingSpec:
        """Return what the engine of `host` serves."""
        return self.pools.get(host.pool, self.serving)

    @property
    def servings(self) -> tuple[ServingSpec, ...]:
        """What each pool serves, the pool main first."""
        return (self.serving, *self.pools.values())

    @property
    def by_key(self) -> dict[str, ServingSpec]:
        """What each pool serves by its key in an inventory, the pool main first."""
        return {"serving": self.serving, **{f"pools.{name}": spec for name, spec in self.pools.items()}}

    @model_validator(mode="after")
    def _pools_fit(self) -> Self:
        refuse(pools_fit(self, self.pools))
        return self

    @model_validator(mode="after")
    def _gateway_fits_serving(self) -> Self:
        refuse(gateway_fits_servings(self.by_key, self.gateway))
        return self

    @model_validator(mode="after")
    def _engine_leaves_the_door_its_port(self) -> Self:
        if self.gateway_host is not None:
            refuse(problem for key, spec in self.by_key.items() for problem in door_ports_differ(spec, key))
        return self

    @model_validator(mode="after")
    def _tunnel_has_two_ends(self) -> Self:
        if self.tunnel is not None and self.gateway_host is not None:
            refuse([Problem("gateway_host", "does not go with `tunnel`", "leave one of them out")])
        if self.tunnel is not None and sorted((self.tunnel.engine, self.tunnel.gateway)) != sorted(
            host.name for host in self.hosts
        ):
            hint = "name exactly these two under hosts: one with the engine, one with the gateway"
            refuse([Problem("tunnel", "does not name the two hosts of this file", hint)])
        return self
