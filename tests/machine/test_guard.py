"""The engine's guard in the kernel: real accounts and sockets in a network namespace; no machine is started."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.roles.host.guard import MARK, TABLE
from provisioning.templates.render import render

ENGINE_PORT, WORKER_PORT, OTHERS_PORT = 8000, 40123, 9999
ENGINE, GATEWAY, STRANGER, OTHER = "daemon", "games", "bin", "sys"
"""Accounts that every Debian has, in place of the project's accounts."""

LISTEN = """
import os, pwd, selectors, socket, sys
account = pwd.getpwnam(sys.argv[1])
os.setgid(account.pw_gid); os.setuid(account.pw_uid)
chooser = selectors.DefaultSelector()
for port in map(int, sys.argv[2:]):
    plug = socket.socket(socket.AF_INET6)
    plug.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    plug.bind(("::", port)); plug.listen()
    chooser.register(plug, selectors.EVENT_READ)
print("listening", flush=True)
while True:
    for key, _ in chooser.select():
        key.fileobj.accept()[0].close()
"""

CONNECT = """
import os, pwd, socket, sys
account = pwd.getpwnam(sys.argv[1])
os.setgid(account.pw_gid); os.setuid(account.pw_uid)
plug = socket.socket(socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET)
plug.settimeout(2)
try:
    plug.connect((sys.argv[2], int(sys.argv[3])))
    print("open")
except OSError:
    print("closed")
"""


@pytest.fixture(scope="module")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """Words that run a program in a namespace with the guard, an engine with a worker, and another server."""
    rules = tmp_path_factory.mktemp("guard") / "rules.nft"
    words = {"users": ("root", ENGINE, GATEWAY), "listeners": ("root", ENGINE), "mark": MARK}
    rules.write_text(render("engine-guard.nft.j2", table=TABLE, port=ENGINE_PORT, **words))
    held = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert held.stdout is not None
    assert held.stdout.readline() == "ready\n"
    enter = ("nsenter", f"--net=/proc/{held.pid}/ns/net")
    subprocess.run([*enter, "nft", "--file", rules], check=True)
    servers = [listening(enter, ENGINE, ENGINE_PORT, WORKER_PORT), listening(enter, OTHER, OTHERS_PORT)]
    yield enter
    for process in (*servers, held):
        process.kill()
        process.communicate()


def listening(enter: tuple[str, ...], account: str, *ports: int) -> "subprocess.Popen[str]":
    argv = [*enter, "/usr/bin/python3", "-c", LISTEN, account, *map(str, ports)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=Path("/"))
    assert process.stdout is not None
    assert process.stdout.readline() == "listening\n"
    return process


CASES = [
    *((account, ENGINE_PORT, "open") for account in ("root", ENGINE, GATEWAY)),
    *((account, ENGINE_PORT, "closed") for account in (STRANGER, OTHER)),
    *((account, WORKER_PORT, "open") for account in ("root", ENGINE)),
    *((account, WORKER_PORT, "closed") for account in (GATEWAY, STRANGER, OTHER)),
    *((account, OTHERS_PORT, "open") for account in ("root", ENGINE, GATEWAY, STRANGER, OTHER)),
]


ADDRESSES = ("127.0.0.1", "::1")


@pytest.fixture(scope="module")
def answers(namespace: tuple[str, ...]) -> dict[tuple[str, int, str], str]:
    """What each account sees at each port and address; all at once, because a dropped packet is waited for."""
    asked = [(account, port, address) for account, port, _ in CASES for address in ADDRESSES]
    words = [*namespace, "/usr/bin/python3", "-ISc", CONNECT]
    running = [
        subprocess.Popen([*words, *map(str, (account, address, port))], stdout=subprocess.PIPE, text=True, cwd="/")
        for account, port, address in asked
    ]
    return {case: process.communicate()[0].strip() for case, process in zip(asked, running, strict=True)}


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize(("account", "port", "expected"), CASES, ids=map(str, CASES))
def test_accounts_reach_only_their_ports(
    answers: dict[tuple[str, int, str], str], account: str, port: int, expected: str, address: str
) -> None:
    """EngineCore's own ports, which it chooses at its start, were open to every account of the host."""
    assert answers[account, port, address] == expected
