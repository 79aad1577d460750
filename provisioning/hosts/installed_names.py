"""The served names that each host behind a gateway has: what its last successful provision installed.

Kept on the controlling machine. The gateway asks a host for these names only, so that no request meets an adapter that
is not there yet. Reaches no host.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from core.errors import ConfigError
from core.files import write_atomically
from core.paths import stack_state_dir
from core.reading.strict_json import parse_object
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.hosts.topology import HostRole, Topology

Names = tuple[str, ...]


def names_file(stack: str) -> Path:
    """Return the file with the names of each host."""
    return stack_state_dir(stack) / "installed.json"


def installed_names(outputs: StackOutputs) -> dict[str, Names]:
    """Return the names of each host behind the gateway; empty for a host that was never provisioned successfully."""
    noted = _read(names_file(outputs.stack))
    behind = Topology(outputs).hosts_with(HostRole.DOOR)
    return {host.name: tuple(noted.get(host.name, ())) for host in behind}


def unknown_hosts(outputs: StackOutputs) -> tuple[str, ...]:
    """Return the hosts behind the gateway that this checkout never provisioned: they may serve, and it cannot say what.

    A host whose provision failed is known, and has no names until one succeeds.
    """
    noted = _read(names_file(outputs.stack))
    return tuple(host.name for host in Topology(outputs).hosts_with(HostRole.DOOR) if host.name not in noted)


def all_names(outputs: StackOutputs) -> dict[str, Names]:
    """Return the same if every host is provisioned successfully."""
    return {host.name: outputs.serving_of(host).served_names for host in Topology(outputs).hosts_with(HostRole.DOOR)}


def names_in_pool(outputs: StackOutputs, host: HostRecord, names: Names) -> Names:
    """Return those of a host's `names` that its pool serves.

    A host that changes its pool has names of the old one until it is provisioned.
    """
    served = outputs.serving_of(host).served_names
    return tuple(name for name in names if name in served)


def note_names(outputs: StackOutputs, names: Mapping[str, Names]) -> None:
    """Note what hosts have now. The others keep what they had; hosts that left the stack are forgotten."""
    if outputs.gateway_host is None:
        return
    path, unknown = names_file(outputs.stack), unknown_hosts(outputs)
    noted = {host: each for host, each in installed_names(outputs).items() if host not in unknown}
    write_atomically(path, json.dumps({**noted, **names}, indent=2) + "\n")


def _read(path: Path) -> dict[str, list[str]]:
    """Return the noted names. Raises ConfigError if the file is damaged."""
    try:
        noted = parse_object(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        noted = {"": None}
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in noted.values()):
        raise ConfigError("holds no names of hosts", where=str(path), hint="remove it and run provision of all hosts")
    return noted
