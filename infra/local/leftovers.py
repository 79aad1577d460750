"""What is left of machines on this host, by asking the host itself. Changes nothing.

Everything of a machine carries its id: interfaces and namespaces `llm-<id>`, tables `llm_<id>`, groups, units, folders.
"""

from pathlib import Path

from core.paths import state_dir
from infra.local import host, network, record
from infra.local.network import Network
from infra.local.runner import runner

NSPAWN_RUN = Path("/run/systemd/nspawn")


def of_machine(identity: str) -> list[str]:
    """Return what the host still has of this machine, a line each; empty when it is gone."""
    net = Network(identity, 0)
    found = [f"process {process.pid}" for process in runner().processes(identity)]
    found += [f"control group or unit {name}" for name in runner().remains(identity)]
    found += [f"interface {net.interface}"] if Path(f"/sys/class/net/{net.interface}").exists() else []
    found += [f"network namespace {net.namespace}"] if (network.NETNS_DIR / net.namespace).exists() else []
    found += [f"nftables table ip {net.table}"] if net.table in host.run("nft", "list", "tables") else []
    found += [f"folder {record.STORE / identity}"] if (record.STORE / identity).exists() else []
    return found + [f"folder {path}" for path in NSPAWN_RUN.glob(f"*/llm-{identity}")]


def of_stack(stack: str, *, owner: str | None = None) -> list[str]:
    """Return what the host still has of this checkout's machines of `stack`."""
    owner = owner or str(state_dir())
    machines = [machine for machine in map(record.load, record.all_ids()) if machine]
    ids = [machine.id for machine in machines if machine.stack == stack and machine.owner == owner]
    return [f"{line} (machine {identity})" for identity in ids for line in of_machine(identity)]
