"""Who may open connections to other hosts: real accounts, sockets and rules in two joined network namespaces."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from core.ports import OVERFLOW_PORT
from provisioning.programs.gateway.overflow_addresses import MARK, rules_text
from provisioning.roles.services.overflow import PROVIDERS_TABLE, TABLE
from provisioning.templates.render import render
from tests.machine.test_guard import CONNECT, listening

OVERFLOW, GATEWAY, STRANGER = "daemon", "games", "bin"
"""Accounts that every Debian has, in place of the project's accounts."""

HERE, PROVIDER, ENGINE = "198.18.78.1", "198.18.78.2", "198.18.78.3"
HERE6, PROVIDER6, OTHER6 = "fd00:78::1", "fd00:78::2", "fd00:78::3"
DOOR, CLIENTS_PORT = 8443, 444

CASES = [
    (OVERFLOW, PROVIDER, 443, "open"),
    (OVERFLOW, PROVIDER6, 443, "open"),
    (OVERFLOW, PROVIDER, 80, "closed"),
    (OVERFLOW, PROVIDER, DOOR, "closed"),
    (OVERFLOW, ENGINE, 443, "closed"),
    (OVERFLOW, OTHER6, 443, "closed"),
    (GATEWAY, ENGINE, DOOR, "open"),
    (GATEWAY, ENGINE, 443, "closed"),
    (GATEWAY, PROVIDER, 443, "closed"),
    (GATEWAY, PROVIDER, DOOR, "closed"),
    (GATEWAY, PROVIDER6, 443, "closed"),
    ("root", PROVIDER, 80, "open"),
    (STRANGER, ENGINE, 443, "open"),
    ("root", "127.0.0.1", OVERFLOW_PORT, "open"),
    (GATEWAY, "127.0.0.1", OVERFLOW_PORT, "open"),
    (GATEWAY, "::1", OVERFLOW_PORT, "open"),
    (STRANGER, "127.0.0.1", OVERFLOW_PORT, "closed"),
    (STRANGER, "::1", OVERFLOW_PORT, "closed"),
]
"""Account, address, port, and whether a connection opens."""

SEND = """
import os, pwd, socket, sys
account = pwd.getpwnam(sys.argv[1])
os.setgid(account.pw_gid); os.setuid(account.pw_uid)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plug:
    try:
        plug.connect((sys.argv[2], 53))
        plug.send(b"canary")
        plug.settimeout(0.5)
        plug.recv(10)
        print("sent")
    except TimeoutError:
        print("sent")
    except OSError:
        print("refused")
"""


def _space(stack: ExitStack) -> tuple[int, tuple[str, ...]]:
    """Return the process of a new network namespace, and the words that run a program in it."""
    command = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"]
    held = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stack.callback(held.communicate)
    stack.callback(held.kill)
    assert held.stdout is not None
    assert held.stdout.readline() == "ready\n"
    return held.pid, ("nsenter", f"--net=/proc/{held.pid}/ns/net")


def _rules(folder: Path) -> list[Path]:
    words = {"gateway": GATEWAY, "overflow": OVERFLOW, "providers": PROVIDERS_TABLE, "mark": MARK}
    engines = [{"daddr": f"ip daddr {ENGINE} ", "ports": [DOOR]}]
    texts = (
        render("way-out.nft.j2", table=TABLE, port=OVERFLOW_PORT, engines=engines, **words),
        rules_text(OVERFLOW, {"api.example.com": {PROVIDER: 1.0, PROVIDER6: 1.0}}),
    )
    files = [folder / f"{number}.nft" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    return files


@pytest.fixture(scope="module")
def spaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The words that run a program in the gateway's namespace with the rules, and in the one of all others."""
    with ExitStack() as stack:
        pid, here = _space(stack)
        other, there = _space(stack)
        link = ["ip", "link", "add", "way0", "netns", str(pid), "type", "veth", "peer", "name", "way1"]
        subprocess.run([*link, "netns", str(other)], check=True)
        for words, name, addresses in (
            (here, "way0", (f"{HERE}/24", f"{HERE6}/64")),
            (there, "way1", (f"{PROVIDER}/24", f"{ENGINE}/24", f"{PROVIDER6}/64", f"{OTHER6}/64")),
        ):
            for address in addresses:
                no_wait = ["nodad"] if ":" in address else []
                subprocess.run([*words, "ip", "address", "add", address, "dev", name, *no_wait], check=True)
            subprocess.run([*words, "ip", "link", "set", name, "up"], check=True)
        for file in _rules(tmp_path_factory.mktemp("rules")):
            subprocess.run([*here, "nft", "--file", file], check=True)
        for words, account, ports in (
            (here, OVERFLOW, (OVERFLOW_PORT,)),
            (here, GATEWAY, (CLIENTS_PORT,)),
            (there, "root", (443, 80, DOOR)),
        ):
            program = listening(words, account, *ports) if account == "root" else _listening(words, account, *ports)
            stack.callback(program.communicate)
            stack.callback(program.kill)
        yield here, there


def _listening(words: tuple[str, ...], account: str, *ports: int) -> "subprocess.Popen[str]":
    """Listen as an account, also on ports below 1024."""
    setting = "net.ipv4.ip_unprivileged_port_start=1"
    subprocess.run([*words, "sysctl", "-q", "-w", setting], check=True)
    return listening(words, account, *ports)


@pytest.fixture(scope="module")
def answers(spaces: tuple[tuple[str, ...], tuple[str, ...]]) -> dict[tuple[str, str, int], str]:
    """What each account sees; all at once, because a dropped packet is waited for."""
    words = [*spaces[0], "/usr/bin/python3", "-ISc", CONNECT]
    asked = [case[:3] for case in CASES]
    running = [
        subprocess.Popen([*words, *map(str, case)], stdout=subprocess.PIPE, text=True, cwd="/") for case in asked
    ]
    return {case: process.communicate()[0].strip() for case, process in zip(asked, running, strict=True)}


@pytest.mark.parametrize(("account", "address", "port", "expected"), CASES, ids=map(str, CASES))
def test_accounts_reach_only_what_they_need(
    answers: dict[tuple[str, str, int], str], account: str, address: str, port: int, expected: str
) -> None:
    assert answers[account, address, port] == expected


@pytest.mark.parametrize(("account", "expected"), [("root", "sent"), (OVERFLOW, "refused"), (GATEWAY, "refused")])
def test_no_question_to_a_name_server_carries_data_out(
    spaces: tuple[tuple[str, ...], tuple[str, ...]], account: str, expected: str
) -> None:
    """The service knows the addresses from a file. A name to look up could hold what must stay."""
    words = [*spaces[0], "/usr/bin/python3", "-ISc", SEND, account, ENGINE]
    said = subprocess.run(words, capture_output=True, text=True, check=True, cwd="/").stdout.strip()
    # Nobody listens on port 53 there, so root's packet is answered by a refusal, after it was sent.
    assert said in ({"sent": ("sent", "refused")}.get(expected, (expected,)))
    counted = subprocess.run([*spaces[0], "nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    if expected == "refused":
        assert "counter packets 0 bytes 0 reject with icmpx" not in counted.split(TABLE)[1].partition("table")[0]


def test_the_gateway_answers_clients(spaces: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    words = [*spaces[1], "/usr/bin/python3", "-ISc", CONNECT, "root", HERE, str(CLIENTS_PORT)]
    assert subprocess.run(words, capture_output=True, text=True, check=True, cwd="/").stdout.strip() == "open"


def test_without_the_addresses_of_providers_nothing_leaves(
    spaces: tuple[tuple[str, ...], tuple[str, ...]], tmp_path: Path
) -> None:
    words = [*spaces[0], "/usr/bin/python3", "-ISc", CONNECT, OVERFLOW, PROVIDER, "443"]
    subprocess.run([*spaces[0], "nft", "delete", "table", "inet", PROVIDERS_TABLE], check=True)
    try:
        said = subprocess.run(words, capture_output=True, text=True, check=True, cwd="/").stdout.strip()
    finally:
        subprocess.run([*spaces[0], "nft", "--file", _rules(tmp_path)[1]], check=True)
    assert said == "closed"
