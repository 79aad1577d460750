"""An engine behind NAT, published by a gateway host over SSH: two real machines, an engine double behind the tunnel."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.errors import CheckError
from core.paths import stack_state_dir
from infra.contract.outputs import HostRecord, StackOutputs, Tunnel
from provisioning.access.tunnel_keys import tunnel_keys
from provisioning.apply.desired_state import desired_state, joined
from provisioning.operate.restart import reboot_host
from provisioning.roles.gateway.given_key import with_engine_key
from provisioning.roles.gateway.tunnel import AUTHORIZED_KEYS, KNOWN_HOSTS, SSHD_FILE, USER
from provisioning.roles.host.layout import ENGINE_UNIT, TUNNEL_UNIT, TUNNEL_WATCH_UNIT
from provisioning.ssh.known_hosts import known_hosts_text
from provisioning.ssh.target import SshTarget
from serving.endpoint import Endpoint
from serving.timed_client import Client
from tests.machine.converge_host import Background, poll, reached, remote
from tests.machine.engine_double import engine_double
from tests.machine.fab import forwarding
from tests.machine.machines import making_machines
from tests.machine.served import GATEWAY_STATE
from tests.slowness import patient
from tests.unit.provisioning.records import stack


@dataclass(frozen=True)
class Published:
    """Both machines, and the engine's address for clients."""

    outputs: StackOutputs
    laptop: HostRecord
    front: HostRecord
    endpoint: Endpoint

    def answers(self) -> bool:
        """Return whether a client of the gateway host gets an answer of the engine."""
        try:
            with Client(self.endpoint.url, key=self.endpoint.api_key(), ca=self.endpoint.ca, timeout_s=5) as client:
                return bool(client.complete("tiny", "The rent", max_tokens=4).text)
        except CheckError:
            return False


@pytest.fixture(scope="module")
def published(machine_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """The gateway's host also has the base role, whose sshd allows no forwarding."""
    with pytest.MonkeyPatch.context() as patch, making_machines(machine_state) as make:
        patch.setenv("LLM_DEPLOY_STATE", str(tmp_path_factory.mktemp("tunnel")))
        laptop, front = make("laptop"), make("front")
        tunnel = Tunnel(engine="laptop", gateway="front")
        outputs = stack().model_copy(update={"hosts": (laptop, front), "tunnel": tunnel})
        desired = desired_state(outputs, (front,), ("base", "gateway"))
        behind = desired_state(outputs, (laptop,), ("services", "gateway"))
        double = with_engine_key(engine_double(unit=ENGINE_UNIT["vllm"]), tunnel_keys("test").engine)
        runs = [
            Background(front, desired.lists["front"]),
            Background(laptop, joined(double, behind.lists["laptop"])),
        ]
        for run in runs:
            run.join(180)
            assert run.seen is not None
            assert run.seen.result.ok, run.seen.result.failed
        assert desired.endpoint is not None
        yield Published(outputs, laptop, front, desired.endpoint)


GUARDED = {"root": "200", "haproxy": "200", "nobody": "000", "admin": "000", USER: "000"}
"""The answers of the engine's port on the gateway's host, by user."""


def reached_by(published: Published) -> dict[str, str]:
    """Return the same as it is."""
    return {user: reached(published.front, 8000, "/health", user) for user in GUARDED}


def test_a_client_of_the_gateway_host_reaches_the_engine_behind(published: Published) -> None:
    poll(published.answers)
    assert published.front.address in published.endpoint.url
    assert remote(published.laptop, "ss -Hltn sport = :443") == ""
    assert remote(published.front, "ss -Hltn sport = :8000").split()[3] == "127.0.0.1:8000"
    assert reached_by(published) == GUARDED


ASKED = "import socket; print(socket.create_connection(('127.0.0.1', 8406)).makefile().read(), end='')"
"""Asks the watcher, as HAProxy does."""


def test_the_gateway_hears_the_watcher_behind(published: Published) -> None:
    """It heard nothing of it before: no drain, and no hang while /health answers."""

    def state() -> str:
        return remote(published.front, f"python3 - <<'END'{GATEWAY_STATE}END\n").strip()

    poll(lambda: state() == "UP")
    remote(published.laptop, "mkdir -p -m 0755 /run/llm-notice; touch /run/llm-notice/drain")
    poll(lambda: state() == "DRAIN (agent)", deadline_s=10)
    remote(published.laptop, "rm /run/llm-notice/drain; systemctl kill --signal=STOP vllm.service")
    poll(lambda: state() == "DOWN (agent)", deadline_s=10)
    remote(published.laptop, "systemctl kill --signal=CONT vllm.service")
    poll(lambda: state() == "UP", deadline_s=60)
    ask = f"""for user in root haproxy nobody {USER}; do
        echo "$user $(setpriv --reuid=$user --clear-groups python3 -c "{ASKED}" 2>&1 | tail -n 1 | cut -d' ' -f1)"
    done"""
    said = dict(line.split() for line in remote(published.front, ask).splitlines())
    assert said == {
        user: "up" if status == "200" else "ConnectionRefusedError:" for user, status in GUARDED.items() if user in said
    }


def test_a_gateways_host_that_permits_the_engines_port_alone_serves_on(published: Published) -> None:
    """One of an earlier release does. ssh then ended the whole connection, and no request was answered."""
    front, laptop = published.front, published.laptop
    units = f"{TUNNEL_UNIT} {TUNNEL_WATCH_UNIT}"
    remote(front, f"cp -p {AUTHORIZED_KEYS} /root/keys; cp -p {SSHD_FILE} /root/sshd")
    try:
        remote(
            front,
            f"""sed -i 's/,permitlisten="127.0.0.1:8406"//' {AUTHORIZED_KEYS}
            sed -i '/PermitListen/s/ 127.0.0.1:8406//' {SSHD_FILE}; systemctl restart ssh""",
        )
        remote(laptop, f"journalctl --rotate; journalctl --vacuum-time=1s -q; systemctl restart {units}")
        poll(lambda: "forwarding failed" in remote(laptop, f"journalctl -q -o cat -u {TUNNEL_WATCH_UNIT}"))
        poll(published.answers)
        assert remote(front, "ss -Hltn sport = :8406") == ""
        assert remote(laptop, f"systemctl is-active {units}").split() == ["active", "active"]
    finally:
        remote(front, f"cp -p /root/keys {AUTHORIZED_KEYS}; cp -p /root/sshd {SSHD_FILE}; systemctl restart ssh")
    poll(lambda: remote(front, "ss -Hltn sport = :8406") != "", deadline_s=60)
    poll(published.answers)


ATTEMPTS = {
    "another port": ["-N", "-R", "127.0.0.1:8001:127.0.0.1:8000"],
    "another address": ["-N", "-R", "0.0.0.0:8000:127.0.0.1:8000"],
    "the watcher's port at another address": ["-N", "-R", "0.0.0.0:8406:127.0.0.1:8406"],
    "a way out": ["-W", "127.0.0.1:22"],
    "a shell": ["id"],
}


@pytest.mark.parametrize("wanted", ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_the_key_of_the_tunnel_opens_nothing_else(published: Published, wanted: list[str], tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(known_hosts_text((SshTarget.of(published.front),)))
    key = stack_state_dir("test") / "tunnel/id_ed25519"
    options = f"-F none -i {key} -o UserKnownHostsFile={known_hosts} -o ExitOnForwardFailure=yes".split()
    done = subprocess.run(
        ["ssh", *options, f"{USER}@{published.front.address}", *wanted],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=patient(30),
        check=False,
    )
    assert done.returncode != 0
    assert "uid=" not in done.stdout
    assert "SSH-" not in done.stdout


def test_the_tunnel_comes_back_after_a_cut_and_after_a_reboot_of_the_gateway_host(published: Published) -> None:
    poll(published.answers)
    ends = f"{{ {published.laptop.address}, {published.front.address} }}"
    with forwarding(f"ip saddr {ends} ip daddr {ends} meta l4proto tcp reject with tcp reset"):
        poll(lambda: not published.answers(), deadline_s=60)
    poll(published.answers, deadline_s=60)
    reboot_host(published.outputs, published.front, lambda _: None)
    poll(published.answers, deadline_s=60)
    assert reached_by(published) == GUARDED


def test_the_dialling_end_trusts_the_known_key_only(published: Published) -> None:
    assert remote(published.laptop, f"cat {KNOWN_HOSTS}").split()[1:] == published.front.host_keys[0].split()
