"""Lists the remains of machines on this host, as the kernel, nftables and the file system show them. Changes nothing.

The name of everything that belongs to a machine contains its id: interfaces, namespaces, groups and units `llm-<id>`,
tables `llm_<id>`, folders. So it is found even without its record.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from core.errors import DeployError
from core.paths import state_dir
from infra.clouds.local.parts import disk, network, record
from infra.clouds.local.parts.runner import runner
from infra.clouds.program.naming import gateway_name

NSPAWN_RUN = Path("/run/systemd/nspawn")
INTERFACES = Path("/sys/class/net")

MAX_MACHINES = 32
"""Of one stack, as `machine.count` in the stack's file allows."""

_NAMED = re.compile(r"llm[-_]([0-9a-f]{8})$")


def everything() -> dict[str, list[str]]:
    """Return the parts of all machines on this host, of every checkout: by the machine's id, a line for each part."""
    found: dict[str, list[str]] = defaultdict(list)
    for identity, words in _processes() + _networks() + disk.remains() + _folders() + runner().remains():
        found[identity].append(words)
    return dict(found)


def of_machine(identity: str) -> list[str]:
    """Return a line for each part of one machine that this host still has."""
    return everything().get(identity, [])


def of_stack(stack: str, *, owner: str | None = None) -> list[str]:
    """Return a line for each part of a machine of this checkout's `stack` that this host still has."""
    mine = ids_of_stack(stack, owner=owner)
    return [f"{line} (machine {identity})" for identity, lines in everything().items() if identity in mine
            for line in lines]  # fmt: skip


def ids_of_stack(stack: str, *, owner: str | None = None) -> set[str]:
    """Return the ids of this checkout's machines of `stack`: those with a record, and those that `up` would create."""
    owner = owner or str(state_dir().resolve())
    recorded = {each.id for each in record.all_readable() if (each.stack, each.owner) == (stack, owner)}
    numbered = (record.machine_name(stack, number) for number in range(1, MAX_MACHINES + 1))
    names = (gateway_name(stack), *numbered, *_of_pools(stack))
    return recorded | {record.machine_id(owner, stack, name) for name in names}


def _of_pools(stack: str) -> Iterator[str]:
    """Yield the names of the machines of the stack file's pools; none if the file cannot be read."""
    from infra.config.reader import load_stack  # loads every model of the config

    with suppress(DeployError):
        for pool in load_stack(stack).pools:
            yield from (record.machine_name(stack, number, pool) for number in range(1, MAX_MACHINES + 1))


def _processes() -> list[tuple[str, str]]:
    """Return the processes that run a machine, by their arguments, in any control group."""
    folder = re.compile(re.escape(f"{record.STORE}/") + r"([0-9a-f]{8})/")
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = file.read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if match := folder.search(arguments):
            found.append((match[1], f"process {file.parent.name}: {arguments.split(chr(0))[0]}"))
    return found


def _networks() -> list[tuple[str, str]]:
    """Return interfaces, network namespaces, tables, and rules in other tables."""
    found = [
        (match[1], f"interface {path.name}") for path in INTERFACES.iterdir() if (match := _NAMED.match(path.name))
    ]
    if network.NETNS_DIR.is_dir():
        found += [
            (match[1], f"network namespace {path.name}")
            for path in network.NETNS_DIR.iterdir()
            if (match := _NAMED.match(path.name))
        ]
    for item in network.ruleset():
        table, rule = item.get("table", {}), item.get("rule", {})
        if match := _NAMED.match(table.get("name", "")):
            found.append((match[1], f"nftables table {table['family']} {table['name']}"))
        if match := _NAMED.match(rule.get("comment", "")):
            found.append((match[1], f"nftables rule in {rule['family']} {rule['table']} {rule['chain']}"))
    return found


def _folders() -> list[tuple[str, str]]:
    """Return folders of machines, and nspawn's folders for running machines."""
    found = [(identity, f"folder {record.STORE / identity}") for identity in record.all_ids()]
    found += [(match[1], f"folder {path}") for path in NSPAWN_RUN.glob("*/*") if (match := _NAMED.match(path.name))]
    return found
