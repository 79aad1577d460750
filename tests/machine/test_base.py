"""The base role on a real machine: only SSH and the gateway are open, no lockout, stable over reboots."""

import json
import shlex
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest

from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.converge.agent.kinds.sshd_file import RESTORE
from provisioning.converge.resources import Command, File, Resource, SshdFile
from provisioning.operate.restart import reboot_host
from provisioning.roles.host.base import base
from provisioning.ssh.connection import connect
from provisioning.ssh.target import SshTarget
from serving.spec.models import GatewaySpec
from tests.machine.converge_host import Seen, bring, moved, poll, remote
from tests.machine.machines import making_machines
from tests.machine.shell import wait_until
from tests.unit.provisioning.records import stack

RULES = "file:/etc/llm/firewall.nft"
SSHD = "sshd_file:/etc/ssh/sshd_config.d/10-llm-deploy.conf"

DIED = (
    "printf '' >$folder/.05-shut.conf.before; echo 'DenyUsers admin' >$folder/05-shut.conf; "
    f"systemd-run --quiet --collect --on-active=$GUARD_S --unit=llm-sshd-undo --timer-property=AccuracySec=1s "
    f"sh -c {shlex.quote(RESTORE)} restore $folder/.05-shut.conf.before $folder/05-shut.conf; systemctl reload ssh"
)
"""The state after an agent was killed after the reload."""

LISTEN = "setsid python3 -m http.server {port} --bind :: >/dev/null 2>&1 &"


@pytest.fixture(scope="module")
def plain(machine_state: Path) -> Iterator[HostRecord]:
    """A machine for this module only: the firewall would break other tests."""
    with making_machines(machine_state) as make:
        yield make("base")


@pytest.fixture(scope="module")
def host(plain: HostRecord) -> HostRecord:
    """The machine with the base role on it."""
    result = with_base(plain).result
    assert result.ok, [(outcome.id, outcome.error, outcome.detail) for outcome in result.failed]
    return plain


def with_base(host: HostRecord, gateway: GatewaySpec | None = None, **changed: Any) -> Seen:
    return bring(host, base(moved(host, **changed), gateway or GatewaySpec()))


def stack_of(host: HostRecord) -> StackOutputs:
    return stack().model_copy(update={"hosts": (host,)})


def answers(host: HostRecord, port: int) -> bool:
    """Return whether a connection from outside is accepted, with a short timeout for dropped packets."""
    try:
        socket.create_connection((host.address, port), timeout=1).close()
    except OSError:
        return False
    return True


def refused(host: HostRecord, resource: str, **changed: Any) -> str:
    """Return why `resource` failed."""
    failed = {outcome.id: outcome for outcome in with_base(host, **changed).result.failed}
    assert set(failed) == {resource}
    return failed[resource].error + failed[resource].detail


def test_a_second_run_changes_nothing(host: HostRecord) -> None:
    result = with_base(host).result
    assert result.changed == ()
    assert result.round_trips == 1


def test_only_ssh_and_the_gateway_can_be_reached(host: HostRecord) -> None:
    for port in (443, 8000):
        remote(host, LISTEN.format(port=port))
    poll(lambda: len(remote(host, "ss -Hltn '( sport = :443 or sport = :8000 )'").splitlines()) == 2)
    assert answers(host, 22)
    assert answers(host, 443)
    assert not answers(host, 8000)


def test_the_gateway_is_open_to_its_networks_only(host: HostRecord) -> None:
    remote(host, "ss -Hltn sport = :443 | grep -q . || " + LISTEN.format(port=443))
    poll(lambda: remote(host, "ss -Hltn sport = :443"))
    assert with_base(host, client_cidrs=("192.0.2.0/24",)).result.ok
    assert not answers(host, 443)
    assert with_base(host).result.ok
    assert answers(host, 443)


def test_ipv6_has_the_same_open_ports(host: HostRecord) -> None:
    for port in (443, 8000):
        remote(host, f"ss -Hltn sport = :{port} | grep -q . || {LISTEN.format(port=port)}")
    poll(lambda: len(remote(host, "ss -Hltn '( sport = :443 or sport = :8000 )'").splitlines()) == 2)
    link = remote(host, "ip -6 -o addr show scope link").split("inet6 ")[1].split("/")[0]
    (route,) = json.loads(subprocess.check_output(["ip", "-j", "route", "get", host.address]))
    over_ipv6 = moved(host, address=f"{link}%{route['dev']}")
    assert answers(over_ipv6, 22)
    assert answers(over_ipv6, 443)
    assert not answers(over_ipv6, 8000)


def test_a_host_that_ignores_port_scans_still_answers_icmp(host: HostRecord) -> None:
    rules = remote(host, "nft list chain inet llm_deploy input")
    assert "policy drop" in rules
    assert "packet-too-big" in rules
    assert "nd-neighbor-solicit" in rules


def test_foreign_rules_survive_a_change_and_a_stop(host: HostRecord) -> None:
    remote(host, "nft add table ip others; nft add chain ip others kept")
    assert with_base(host, GatewaySpec(port=8443)).result.ok
    remote(host, "systemctl stop llm-firewall")
    assert remote(host, "nft list tables").split("\n")[:-1] == ["table ip others"]
    changed = [outcome.id for outcome in with_base(host).result.changed]
    assert changed == ["command:firewall-trial", RULES, "unit:llm-firewall.service", "command:firewall"]
    assert "table ip others" in remote(host, "nft list tables")
    remote(host, "nft delete table ip others")


LOSSES = {
    "flushed": "nft flush ruleset",
    "flushed by a restart": "systemctl stop llm-nft-watch.timer; rm /etc/systemd/system/nftables.service.d/*; "
    "systemctl daemon-reload; systemctl restart nftables",
    "changed": "nft insert rule inet llm_deploy input accept",
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_rules_that_the_kernel_lost_are_planned_and_loaded_again(host: HostRecord, loss: str) -> None:
    """`nft flush ruleset` removed the firewall; the plan had nothing to change."""
    before = remote(host, "nft -s list table inet llm_deploy")
    remote(host, f"systemctl stop llm-nft-watch.timer; {loss}")
    planned = bring(host, base(host, GatewaySpec()), dry_run=True).result.changed
    assert "command:firewall" in {outcome.id for outcome in planned}
    assert with_base(host).result.ok
    assert remote(host, "nft -s list table inet llm_deploy") == before
    assert with_base(host).result.changed == ()


def test_rules_are_restored_automatically(host: HostRecord) -> None:
    before = remote(host, "nft -s list table inet llm_deploy")
    for verb in ("start", "restart", "reload", "stop"):
        remote(host, f"systemctl {verb} nftables")
        assert remote(host, "nft -s list table inet llm_deploy") == before, verb
    remote(host, "nft flush ruleset; systemctl start llm-nft-watch.service")
    assert remote(host, "nft -s list table inet llm_deploy") == before
    assert "active" in remote(host, "systemctl is-active llm-nft-watch.timer")


def test_rules_that_block_new_connections_are_rolled_back(host: HostRecord) -> None:
    """The check knows sshd's port and addresses; only a new connection shows other errors in rules."""
    before = remote(host, "nft -s list table inet llm_deploy; cat /etc/llm/firewall.nft")
    resources: list[Resource] = []
    for each in base(host, GatewaySpec()):
        if isinstance(each, File):
            text = str(each.content).replace("tcp dport 22 accept", "tcp dport 22 drop")
            resources.append(replace(each, content=text.replace("TRIAL_S = 60", "TRIAL_S = 6")))
        elif isinstance(each, Command) and each.id == "command:firewall-trial":
            resources.append(replace(each, check=()))
        else:
            resources.append(each)
    failed = {outcome.id: outcome.error for outcome in bring(host, resources).result.failed}
    assert set(failed) == {"command:firewall"}
    assert "no new SSH connection was possible" in failed["command:firewall"]
    assert remote(host, "nft -s list table inet llm_deploy; cat /etc/llm/firewall.nft") == before
    assert with_base(host).result.ok


def test_an_open_session_survives_new_rules(host: HostRecord) -> None:
    with connect(SshTarget.of(host)) as session:
        assert with_base(host, GatewaySpec(port=8443)).result.ok
        assert session.run("echo here", hide=True, in_stream=False).stdout == "here\n"
    assert with_base(host).result.ok


def test_rules_that_would_lock_us_out_are_refused(host: HostRecord) -> None:
    before = remote(host, "nft list ruleset")
    assert "would lock out" in refused(host, RULES, ssh_cidrs=("192.0.2.0/24",))
    assert remote(host, "nft list ruleset") == before


def test_rules_that_nft_refuses_leave_the_old_ones(host: HostRecord) -> None:
    before = remote(host, "nft list ruleset; cat /etc/llm/firewall.nft")
    broken: list[Resource] = [
        File(path=each.path, content=str(each.content).replace("policy drop", "policy maybe"), check=each.check)
        for each in base(host, GatewaySpec())
        if isinstance(each, File) and each.id == RULES
    ]
    assert not bring(host, broken).result.ok
    assert remote(host, "nft list ruleset; cat /etc/llm/firewall.nft") == before


def test_passwords_and_root_are_refused(host: HostRecord) -> None:
    with paramiko.Transport((host.address, 22)) as transport:
        transport.connect()
        with pytest.raises(paramiko.BadAuthenticationType) as caught:
            transport.auth_none(host.user)
        assert caught.value.allowed_types == ["publickey"]
    effective = dict(line.split(maxsplit=1) for line in remote(host, "sshd -T").splitlines() if " " in line)
    assert effective["permitrootlogin"] == "no"
    assert effective["allowtcpforwarding"] == "local"
    assert effective["permitopen"] == "127.0.0.1:8405 127.0.0.1:9400"
    assert effective["persourcemaxstartups"] == "10"
    assert "sha1" not in effective["macs"] + effective["kexalgorithms"]
    assert "cbc" not in effective["ciphers"]


def test_invalid_sshd_settings_are_never_installed(host: HostRecord) -> None:
    """A broken file beside ours would fail the reload, and lock everybody out after the next boot."""
    path = SSHD.removeprefix("sshd_file:")
    before = remote(host, f"cat {path}")
    remote(host, "echo Nonsense yes > /etc/ssh/sshd_config.d/50-broken.conf")
    said = refused(host, SSHD, user="root")
    assert "Nonsense" in said
    assert remote(host, f"cat {path}") == before
    remote(host, "rm /etc/ssh/sshd_config.d/50-broken.conf; systemctl is-active ssh")
    assert with_base(host).result.ok


def test_sshd_settings_that_lock_us_out_are_undone(host: HostRecord) -> None:
    """The first login stays open; without a second login the lockout would be noticed too late."""
    before = remote(host, "ls -A /etc/ssh/sshd_config.d; sshd -T")
    shut = SshdFile(path="/etc/ssh/sshd_config.d/05-shut.conf", content=f"DenyUsers {host.user}\n")
    (failed,) = bring(host, [shut]).result.failed
    assert "was undone, because a second login failed" in failed.error
    assert remote(host, "ls -A /etc/ssh/sshd_config.d; sshd -T") == before
    assert "llm-sshd-undo" not in remote(host, "systemctl list-units --all --plain 'llm-sshd-undo*'")


def test_an_agent_that_dies_before_the_second_login_leaves_the_old_settings_to_systemd(host: HostRecord) -> None:
    before = remote(host, "ls -A /etc/ssh/sshd_config.d; sshd -T")
    script = f"GUARD_S=1; folder=/etc/ssh/sshd_config.d; {DIED}"
    remote(host, script)
    wait_until(lambda: remote(host, "ls -A /etc/ssh/sshd_config.d; sshd -T") == before)


def test_updates_are_on_and_never_reboot(host: HostRecord) -> None:
    settings = remote(host, "apt-config dump")
    assert 'APT::Periodic::Unattended-Upgrade "1";' in settings
    assert 'Unattended-Upgrade::Automatic-Reboot "false";' in settings
    assert "apt-daily-upgrade.timer" in remote(host, "systemctl list-timers --all")
    assert "Debian-Security" in remote(host, "unattended-upgrade --dry-run -v 2>&1 | head -5")


def test_the_service_user_can_do_nothing(host: HostRecord) -> None:
    entry = remote(host, "getent passwd llm").strip().split(":")
    assert entry[-1].endswith("nologin")
    assert "not allowed" in remote(host, "sudo -l -U llm; true")


def test_all_of_it_holds_after_a_reboot(host: HostRecord) -> None:
    reboot_host(stack_of(host), host, lambda _: None)
    assert with_base(host).result.changed == ()
    remote(host, LISTEN.format(port=8000))
    poll(lambda: remote(host, "ss -Hltn sport = :8000"))
    assert not answers(host, 8000)
    assert len(remote(host, "journalctl -q --list-boots").splitlines()) >= 2
