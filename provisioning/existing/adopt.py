"""`fab adopt`: look at an existing host, print what works there, write its inventory. Changes nothing on the host."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from core.console import next_command, say
from core.errors import UsageError
from core.paths import CHECKOUT
from core.ports import SSH_PORT
from core.reading.strict_yaml import read_yaml
from core.reading.words import error_of, words
from infra.contract.outputs import LOGIN, HostRecord
from provisioning.existing.host_key import accepted_keys, fingerprint, shown_keys, terminal
from provisioning.existing.inventory_file import inventory_text, is_edited, write_inventory
from provisioning.existing.verdict import notes, plan, refusals
from provisioning.hosts.facts import GIB, HostFacts
from provisioning.hosts.inventory import load
from provisioning.hosts.look import look
from provisioning.hosts.target import Target
from provisioning.ssh.connection import LoginError, OtherHostError
from provisioning.ssh.route import file_at, route
from provisioning.ssh.target import SshTarget

if TYPE_CHECKING:
    pass

NAME_KEY = 'name the private key to log in with: ARGS="--identity-file KEY"'
NEW_KEY = 'ARGS="--host-key SHA256:… --replace", which replaces the file'

WHERE = re.compile(
    rf"(?P<user>{LOGIN})@(?P<address>\[[0-9A-Fa-f:.%\w]+\]|[A-Za-z0-9][\w.-]*)(:(?P<port>\d{{1,5}}))?", re.ASCII
)
"""A login may contain an `@`, so the last one counts."""


@dataclass(frozen=True, kw_only=True)
class AdoptOptions:
    """The command line of `adopt`; an option that was not given is empty."""

    login: str
    name: str = ""
    identity_file: str = ""
    ssh_config: str = ""
    inventory: str = ""
    host_key: str = ""
    replace: bool = False


def adopt(options: AdoptOptions) -> int:
    """Write the inventory of a host that can be provisioned; return 0.

    Raises ConfigError (exit 2) with every reason why it cannot be, UsageError for an edited file, HostError if the host
    cannot be reached or has another host key than the known one.
    """
    ssh_target = parse_login(options)
    path = Path(options.inventory or CHECKOUT / "hosts" / f"{ssh_target.name}.yaml")
    keys = trusted_keys(options, ssh_target, known_keys(path, ssh_target))
    facts = _looked_at(replace(ssh_target, host_keys=keys))
    say(f"{ssh_target.name}: {summary(facts)}")
    reasons = list(refusals(facts))
    if reasons:
        raise error_of(reasons, options.login)
    chosen = plan(facts)
    for note in notes(facts, chosen):
        say(f"! {note}")
    host = _record(replace(ssh_target, host_keys=keys), facts)
    done = write_inventory(path, inventory_text(host, facts, chosen, login=options.login), replace=options.replace)
    say(f"✓ adopt {ssh_target.name}: {path} is {done}; host key {fingerprint(keys[0])}")
    next_command(Target(inventory=str(path)).command("plan"), Target(inventory=str(path)).command("provision"))
    return 0


def parse_login(options: AdoptOptions) -> SshTarget:
    """Return the SSH target of `user@address[:port]`, without host keys. Raises UsageError for other text."""
    found = WHERE.fullmatch(options.login)
    if found is None or not 0 < int(found["port"] or SSH_PORT) < 1 << 16:
        hint = "write HOST=user@address or HOST=user@address:port"
        raise UsageError(f"not a login: {options.login!r}", where="HOST", hint=hint)
    address = found["address"].strip("[]")
    identity = Path(options.identity_file).expanduser().resolve() if options.identity_file else None
    if identity is not None and file_at(identity) is None:
        raise UsageError("there is no such file", where=f"--identity-file {identity}", hint=NAME_KEY)
    config = Path(options.ssh_config).expanduser().resolve() if options.ssh_config else None
    name = options.name or host_name(address)
    return SshTarget(
        name=name,
        address=address,
        user=found["user"],
        ssh_port=int(found["port"] or SSH_PORT),
        identity_file=identity,
        ssh_config=config,
    )


def host_name(address: str) -> str:
    """Return the host's name in files: the first label of a DNS name, or an IP address with `-`."""
    is_ip = ":" in address or address.replace(".", "").isdigit()
    first = "host-" + re.sub(r"[.:%]+", "-", address) if is_ip else address.partition(".")[0]
    return re.sub(r"[^a-z0-9-]", "-", first.lower()).strip("-")[:40].rstrip("-")


def _looked_at(ssh_target: SshTarget) -> HostFacts:
    """Return the facts of the host. If its login or host key fails, the error says what to write for `make adopt`."""
    try:
        return look(ssh_target)
    except LoginError as error:
        raise UsageError(error.what, where=error.where, hint=NAME_KEY) from error
    except OtherHostError as error:
        hint = f"{error.hint}; or run it again with {NEW_KEY}"
        raise OtherHostError(error.what, where=error.where, hint=hint) from error


def summary(facts: HostFacts) -> str:
    """Return the host in one line."""
    gpu = facts.gpu
    return ", ".join(
        (
            facts.os_name or facts.os_release,
            f"Linux {facts.kernel} on {facts.arch}",
            f"{facts.cpu_count} CPUs",
            f"{facts.memory_gib} GiB of memory",
            f"{facts.disk_free_bytes / GIB:.0f} GiB of disk free",
            f"{gpu.count} x {gpu.model} with {gpu.vram_gib} GiB" if gpu else "no GPU in use",
            "systemd" if facts.has_systemd else f"process 1 is {facts.init}",
            facts.container or ("WSL" if facts.wsl else facts.virtual_machine) or "bare metal",
        )
    )


def trusted_keys(options: AdoptOptions, ssh_target: SshTarget, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the trusted host keys: those of the inventory, else one that a person accepts.

    Raises UsageError for a fingerprint that none of the inventory's keys has, unless they may be replaced.
    """
    if known and (not options.host_key or options.host_key in map(fingerprint, known)):
        return known
    if known and not options.replace:
        what = f"the inventory trusts {', '.join(map(fingerprint, known))}, not {options.host_key}"
        raise UsageError(what, where=ssh_target.name, hint=f"if the host was reinstalled, write {NEW_KEY}")
    return accepted_keys(shown_keys(ssh_target), options.host_key, terminal(), name=ssh_target.address)


def known_keys(path: Path, ssh_target: SshTarget) -> tuple[str, ...]:
    """Return the host's keys in the existing inventory: a person accepted them at an earlier `adopt`."""
    if not path.is_file():
        return ()
    for host in _hosts(path):
        if (host.address, host.ssh_port) == (ssh_target.address, ssh_target.ssh_port):
            return host.host_keys
    hint = 'name another file, INVENTORY=FILE, or another name, ARGS="--name NAME"'
    raise UsageError(f"is the inventory of another host, not of {ssh_target.address}", where=str(path), hint=hint)


def _hosts(path: Path) -> Sequence[HostRecord]:
    """Return the hosts of the inventory. One that `adopt` wrote may still have an empty `gpu`."""
    if is_edited(path.read_text(encoding="utf-8", errors="replace")):
        return load(Target(inventory=str(path))).hosts
    written = read_yaml(path, shown_as=str(path))["hosts"]
    return [HostRecord.model_validate({**host, "gpu": None}) for host in written]


def service_address(ssh_target: SshTarget) -> str | None:
    """Return the address for clients of a host whose address in `ssh_config` differs; None: the same address."""
    led_to = route(ssh_target).address
    return None if led_to == ssh_target.address else led_to


def _record(ssh_target: SshTarget, facts: HostFacts) -> HostRecord:
    """Return the host as the inventory holds it. Raises ConfigError for an invalid name."""
    try:
        return HostRecord.model_validate(
            {
                "name": ssh_target.name,
                "address": ssh_target.address,
                "ssh_port": ssh_target.ssh_port,
                "user": ssh_target.user,
                "host_keys": ssh_target.host_keys,
                "identity_file": ssh_target.identity_file,
                "ssh_config": ssh_target.ssh_config,
                "service_address": service_address(ssh_target),
                "virtualization": facts.virtualization,
                "os_release": facts.os_release,
                "cpu_count": facts.cpu_count,
                "memory_gib": facts.memory_gib,
                "gpu": facts.gpu,
            }
        )
    except ValidationError as error:
        raise words(error, "--name", HostRecord) from None
