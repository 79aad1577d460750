"""Ports seen from outside: all 65,535 TCP ports of a host with the firewall of the base role.

The host is a network namespace of this machine with the rules that provision writes. A port answers if a packet comes
back, be it a refusal: nothing has to listen there. tests/machine/test_pool.py asks real machines for some of the ports.
"""

import os
import resource
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.project.gateway.harness.bench import Bench
from core.console import say
from core.errors import CheckError
from provisioning.converge.resources import File
from provisioning.roles.host.firewall import resources
from provisioning.roles.host.layout import FIREWALL_RULES
from serving.spec.models import GatewaySpec
from tests.unit.provisioning.records import host

ROW = "ports seen from outside"
INSIDE, OUTSIDE = "198.18.0.2", "198.18.0.1"
"""Of RFC 2544's range for benchmarks."""
ALL = range(1, 65536)
AT_ONCE = 4096
SILENT_S = 1.5
GATEWAY = host("gateway", address="198.18.0.77")
"""The gateway's host, as an engine's host knows it: not where the scan comes from."""


def run(bench: Bench) -> None:
    """Scan without rules, so that the scan is known to see ports; then a gateway's host, and one behind it."""
    if os.geteuid() != 0:
        say(f"  {ROW} is not measured: only root makes network namespaces")
        return
    gateway = GatewaySpec()
    hosts = {
        "gateway's host": (resources(host(), gateway), {22, gateway.port}),
        "engine's host behind it": (resources(host(), gateway, GATEWAY), {22}),
    }
    with namespace() as name:
        seen = answering(INSIDE)
        bench.at_least(ROW, "share of ports that answer without a firewall", len(seen) / len(ALL), 1.0)
        for kind, (rules, expected) in hosts.items():
            text = next(str(each.content) for each in rules if isinstance(each, File) and each.path == FIREWALL_RULES)
            _in(name, "nft", "-f", "-", text=text)
            seen = answering(INSIDE)
            bench.table.details[f"{ROW}: {kind}"] = sorted(seen)
            if not seen >= expected:
                raise CheckError(f"the firewall of the {kind} closes its own ports", where=ROW)
            also = f" ({', '.join(map(str, sorted(seen)))} answer)"
            wrong = len(seen - expected)
            bench.at_most(
                ROW, f"{kind}: ports that answer beside {' and '.join(map(str, sorted(expected)))}", wrong, 0, also=also
            )


@contextmanager
def namespace() -> Iterator[str]:
    """Make a network namespace with the address INSIDE, which this machine reaches; remove it afterwards."""
    name = f"bench{os.getpid()}"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "address", "add", f"{OUTSIDE}/30", "dev", name)
        _run("ip", "link", "set", name, "up")
        _in(name, "ip", "address", "add", f"{INSIDE}/30", "dev", "eth0")
        _in(name, "ip", "link", "set", "eth0", "up")
        _in(name, "ip", "link", "set", "lo", "up")
        yield name
    finally:
        _run("ip", "netns", "delete", name)


def answering(address: str) -> set[int]:
    """Return the TCP ports from which a packet comes back within SILENT_S."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        return {port for start in ALL[::AT_ONCE] for port in _knock(address, range(start, min(start + AT_ONCE, 65536)))}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _knock(address: str, ports: range) -> set[int]:
    knocking: dict[int, tuple[int, socket.socket]] = {}
    poll = select.poll()
    for port in ports:
        each = socket.socket()
        each.setblocking(False)
        each.connect_ex((address, port))
        knocking[each.fileno()] = (port, each)
        poll.register(each, select.POLLOUT)
    seen: set[int] = set()
    end = time.monotonic() + SILENT_S
    while len(seen) < len(knocking) and (rest := end - time.monotonic()) > 0:
        for number, _ in poll.poll(rest * 1000):
            poll.unregister(number)
            seen.add(knocking[number][0])
    for _, each in knocking.values():
        each.close()
    return seen


def _in(name: str, *words: str, text: str = "") -> None:
    _run("ip", "netns", "exec", name, *words, text=text)


def _run(*words: str, text: str = "") -> None:
    subprocess.run(words, input=text, text=True, check=True)
