"""The base role's resources for each kind of host. tests/machine/test_base.py tests them on a machine."""

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from provisioning.converge.agent.kinds import sshd_file
from provisioning.converge.proxy import APT_FILE
from provisioning.converge.resources import File, Link, Packages, Resource, SshdFile, Swap
from provisioning.programs.firewall import firewall_trial
from provisioning.roles.host.base import base
from provisioning.roles.host.firewall import open_ports_of
from serving.spec.models import GatewaySpec
from tests.unit.provisioning.records import host

SSHD = "/etc/ssh/sshd_config.d/10-llm-deploy.conf"
RULES = "/etc/llm/firewall.nft"


def desired(gateway: GatewaySpec | None = None, **changed: Any) -> list[Resource]:
    return base(host(**changed), gateway or GatewaySpec())


def content(path: str, resources: list[Resource]) -> str:
    return next(str(each.content) for each in resources if isinstance(each, File | SshdFile) and each.path == path)


def test_all_ids_differ_and_dependencies_come_first() -> None:
    seen: set[str] = set()
    for each in desired(memory_gib=4):
        assert each.id not in seen
        assert set(each.after) <= seen, each.id
        seen.add(each.id)


@pytest.mark.parametrize("start", ["swap:", "sysctl:", "command:time-sync"])
def test_a_container_gets_no_kernel_settings(start: str) -> None:
    assert any(each.id.startswith(start) for each in desired(memory_gib=4))
    assert not any(each.id.startswith(start) for each in desired(memory_gib=4, virtualization="container"))


@pytest.mark.parametrize(("cloud", "first"), [("aws", "command:data-volume"), ("existing", f"file:{APT_FILE}")])
def test_the_data_volume_of_a_cloud_host_comes_before_its_files(cloud: str, first: str) -> None:
    assert desired(cloud=cloud)[0].id == first


def test_a_larger_data_volume_of_a_cloud_host_is_used() -> None:
    assert [each.id for each in desired(cloud="aws")][1] == "command:data-volume-size"
    assert "command:data-volume-size" not in {each.id for each in desired(cloud="existing")}


@pytest.mark.parametrize(("memory_gib", "swap_mib"), [(1, 8192), (8, 8192), (12.5, 3584), (16, None), (64, None)])
def test_small_hosts_get_swap(memory_gib: float, swap_mib: int | None) -> None:
    sizes = [each.size_mib for each in desired(memory_gib=memory_gib) if isinstance(each, Swap)]
    assert sizes == ([] if swap_mib is None else [swap_mib])


@pytest.mark.parametrize(("user", "line"), [("root", "prohibit-password"), ("admin", "no")])
def test_root_may_log_in_only_if_we_log_in_as_root(user: str, line: str) -> None:
    assert f"PermitRootLogin {line}\n" in content(SSHD, desired(user=user, cloud="aws"))


@pytest.mark.parametrize("word", ["AllowTcpForwarding", "PermitRootLogin", "MaxAuthTries", "AllowAgentForwarding"])
@pytest.mark.parametrize(("cloud", "closed"), [("local", True), ("aws", True), ("gcp", True), ("existing", False)])
def test_login_habits_stay_on_hosts_where_people_work(cloud: str, closed: bool, word: str) -> None:
    """MaxAuthTries locked an operator out of their own host because the right key was the fifth of six."""
    assert (word in content(SSHD, desired(cloud=cloud))) is closed


def test_password_logins_are_disabled_unless_the_inventory_keeps_them() -> None:
    assert "PasswordAuthentication no" in content(SSHD, desired())
    kept = content(SSHD, desired(password_logins=True))
    assert not [line for line in kept.splitlines() if line.startswith(("PasswordAuth", "KbdInteractive"))]


def test_one_network_cannot_take_all_unauthenticated_connections() -> None:
    """Ten connections from one address that never logged in blocked all logins."""
    settings = dict(line.split(" ", 1) for line in content(SSHD, desired()).splitlines() if line[:1].isalpha())
    assert int(settings["PerSourceMaxStartups"]) < int(settings["MaxStartups"].split(":")[0])
    assert settings["PerSourceNetBlockSize"] == "32:64"


def test_ports_and_tunnels_of_others_stay_as_the_inventory_says() -> None:
    """A WireGuard port was closed by the first rules: only SSH and the gateway were let in."""
    open_ports = ("51820/udp", "41641/udp", "9100/tcp", "6000-6010/tcp")
    resources = desired(open_ports=open_ports, closed_ports=("111/tcp",))
    rules = content(RULES, resources)
    assert "\t\ttcp dport { 9100, 6000-6010 } accept\n" in rules
    assert "\t\tudp dport { 51820, 41641 } accept\n" in rules
    assert "111" not in rules
    assert "meta l4proto { 4, 41, 47, 50, 51, 97, 108, 115 } accept" in rules
    assert "meta l4proto { 2, 89, 112 } accept" in rules  # without VRRP both routers of a pair claim the shared address
    assert "l4proto" not in content(RULES, desired(cloud="aws"))
    (file,) = (each for each in resources if isinstance(each, File) and each.path == RULES)
    words = list(zip(file.check, file.check[1:], strict=False))
    assert all(("--open", port) in words for port in ("22/tcp", *open_ports))
    assert ("--known", "111/tcp") in words
    assert "--name-others" in file.check


DOORS = {
    "anybody": ({}, ["tcp dport 22 accept", "tcp dport 443 accept"]),
    "IPv4 only": (
        {"ssh_cidrs": ["203.0.113.7/32"], "client_cidrs": ["198.51.100.0/24", "10.0.0.0/8"]},
        [
            "ip saddr { 203.0.113.7/32 } tcp dport 22 accept",
            "ip saddr { 10.0.0.0/8, 198.51.100.0/24 } tcp dport 443 accept",
        ],
    ),
    "both families": (
        {"ssh_cidrs": ["203.0.113.7/32", "2001:db8::/32"]},
        [
            "ip saddr { 203.0.113.7/32 } tcp dport 22 accept",
            "ip6 saddr { 2001:db8::/32 } tcp dport 22 accept",
            "tcp dport 443 accept",
        ],
    ),
    "ranges that overlap": (
        {"ssh_cidrs": ["10.0.0.0/8", "10.1.0.0/16"]},
        ["ip saddr { 10.0.0.0/8 } tcp dport 22 accept", "tcp dport 443 accept"],
    ),
    "forwarded SSH port": ({"ssh_port": 2222}, ["tcp dport { 22, 2222 } accept", "tcp dport 443 accept"]),
}


@pytest.mark.parametrize(("changed", "rules"), DOORS.values(), ids=DOORS.keys())
def test_the_firewall_opens_ssh_and_the_gateway_to_their_networks(changed: dict[str, Any], rules: list[str]) -> None:
    lines = [line.strip() for line in content(RULES, desired(**changed)).splitlines()]
    assert [line for line in lines if "tcp dport" in line] == rules


def test_the_firewall_waits_at_boot_for_its_folders_and_not_for_the_network() -> None:
    """It ran before /var was mounted: the state of a trial was not seen, and unconfirmed rules were loaded."""
    unit = content("/etc/systemd/system/llm-firewall.service", desired())
    assert "After=systemd-remount-fs.service\n" in unit
    assert "Before=network-pre.target shutdown.target\n" in unit
    (mounts,) = (line for line in unit.splitlines() if line.startswith("RequiresMountsFor="))
    assert mounts.partition("=")[2].split() == [
        "/usr/local/lib/llm-deploy/nft-rules",
        RULES,
        str(firewall_trial.STATE.parent),
    ]


def test_unconfirmed_sshd_settings_are_removed_at_boot_before_sshd_reads_them(tmp_path: Path) -> None:
    """After a reboot the timer was gone, and the unconfirmed settings stayed in force."""
    resources = desired()
    unit = content("/etc/systemd/system/llm-sshd-boot-10-llm-deploy.service", resources)
    assert f"ConditionPathExists={sshd_file.before_path(SSHD)}\n" in unit
    assert "Before=ssh.service ssh.socket shutdown.target\n" in unit
    (link,) = (each for each in resources if isinstance(each, Link) and "llm-sshd-boot" in each.path)
    assert link.path == "/etc/systemd/system/sysinit.target.wants/llm-sshd-boot-10-llm-deploy.service"
    (settings,) = (each for each in resources if isinstance(each, SshdFile))
    assert link.id in settings.after
    (script,) = (line.partition("=")[2] for line in unit.splitlines() if line.startswith("ExecStart="))
    there, before = tmp_path / "10-llm-deploy.conf", tmp_path / ".10-llm-deploy.conf.before"
    for former in ("former", ""):
        there.write_text("unconfirmed")
        before.write_text(former)
        subprocess.run(shlex.split(script.replace(str(Path(SSHD).parent), str(tmp_path))), check=True)
        assert (there.read_text() if there.exists() else "") == former
        assert not before.exists()


def test_the_gateways_port_is_the_specs() -> None:
    assert [opening.ports for opening in open_ports_of(host(), GatewaySpec(port=8443))] == ["22", "8443"]


def test_packages_are_listed_once() -> None:
    assert [each.name for each in desired() if isinstance(each, Packages)] == ["base"]


@pytest.mark.parametrize("changed", [{}, {"cloud": "aws"}, {"open_ports": ("51820/udp", "6000-6010/tcp", "9/tcp")}])
def test_nft_accepts_the_rules(tmp_path: Path, changed: dict[str, Any]) -> None:
    (tmp_path / "rules.nft").write_text(content(RULES, desired(**changed)))
    argv = ["unshare", "--map-root-user", "--net", "/usr/sbin/nft", "--file", str(tmp_path / "rules.nft")]
    subprocess.run(argv, check=True)
