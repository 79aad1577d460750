"""What the base role wishes for on which host. That it works is tests/machine/test_base.py's to prove."""

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from provisioning.converge.resources import File, Packages, Resource, SshdFile, Swap
from provisioning.proxy import APT_FILE
from provisioning.roles.base import base
from provisioning.roles.firewall import doors
from serving.spec import GatewaySpec
from tests.unit.provisioning.records import host

SSHD = "/etc/ssh/sshd_config.d/10-llm-deploy.conf"
RULES = "/etc/llm/firewall.nft"


def wishes(gateway: GatewaySpec | None = None, **changed: Any) -> list[Resource]:
    return base(host(**changed), gateway or GatewaySpec())


def content(path: str, resources: list[Resource]) -> str:
    return next(str(each.content) for each in resources if isinstance(each, File | SshdFile) and each.path == path)


def test_all_ids_differ_and_what_a_resource_waits_for_comes_before_it() -> None:
    seen: set[str] = set()
    for each in wishes(memory_gib=4):
        assert each.id not in seen
        assert set(each.after) <= seen, each.id
        seen.add(each.id)


@pytest.mark.parametrize("start", ["swap:", "sysctl:", "command:time-sync"])
def test_a_container_gets_nothing_that_belongs_to_its_kernel(start: str) -> None:
    assert any(each.id.startswith(start) for each in wishes(memory_gib=4))
    assert not any(each.id.startswith(start) for each in wishes(memory_gib=4, virtualization="container"))


@pytest.mark.parametrize(("cloud", "first"), [("aws", "command:data-volume"), ("existing", f"file:{APT_FILE}")])
def test_the_data_volume_of_a_rented_host_comes_before_what_may_lie_on_it(cloud: str, first: str) -> None:
    assert wishes(cloud=cloud)[0].id == first


def test_a_larger_data_volume_of_a_rented_host_is_made_use_of() -> None:
    assert [each.id for each in wishes(cloud="aws")][1] == "command:data-volume-size"
    assert "command:data-volume-size" not in {each.id for each in wishes(cloud="existing")}


@pytest.mark.parametrize(("memory_gib", "swap_mib"), [(1, 8192), (8, 8192), (12.5, 3584), (16, None), (64, None)])
def test_small_hosts_get_swap(memory_gib: float, swap_mib: int | None) -> None:
    sizes = [each.size_mib for each in wishes(memory_gib=memory_gib) if isinstance(each, Swap)]
    assert sizes == ([] if swap_mib is None else [swap_mib])


@pytest.mark.parametrize(("user", "line"), [("root", "prohibit-password"), ("admin", "no")])
def test_root_may_log_in_only_where_we_log_in_as_root(user: str, line: str) -> None:
    assert f"PermitRootLogin {line}\n" in content(SSHD, wishes(user=user, cloud="aws"))


@pytest.mark.parametrize("word", ["AllowTcpForwarding", "PermitRootLogin", "MaxAuthTries", "AllowAgentForwarding"])
@pytest.mark.parametrize(("cloud", "closed"), [("local", True), ("aws", True), ("gcp", True), ("existing", False)])
def test_what_people_are_used_to_stays_where_people_work(cloud: str, closed: bool, word: str) -> None:
    """MaxAuthTries once shut out an operator on their own host whose agent offered the fifth of six keys."""
    assert (word in content(SSHD, wishes(cloud=cloud))) is closed


def test_password_logins_go_unless_the_inventory_keeps_them() -> None:
    assert "PasswordAuthentication no" in content(SSHD, wishes())
    kept = content(SSHD, wishes(password_logins=True))
    assert not [line for line in kept.splitlines() if line.startswith(("PasswordAuth", "KbdInteractive"))]


def test_one_network_cannot_take_all_places_of_those_who_have_not_logged_in() -> None:
    """Once ten connections of one address that never logged in kept everybody from logging in."""
    settings = dict(line.split(" ", 1) for line in content(SSHD, wishes()).splitlines() if line[:1].isalpha())
    assert int(settings["PerSourceMaxStartups"]) < int(settings["MaxStartups"].split(":")[0])
    assert settings["PerSourceNetBlockSize"] == "32:64"


def sshd_check(**changed: Any) -> str:
    """Return the script that looks at sshd's settings before they are in place."""
    (file,) = (each for each in wishes(**changed) if isinstance(each, SshdFile))
    return file.check[2]


@pytest.fixture
def host_folder(tmp_path: Path) -> Path:
    """A host's /run and /etc/ssh, with an sshd that wants its folder as the real one does."""
    for name in ("etc/ssh/sshd_config.d", "run", "bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/ssh/sshd_config").write_text("Include /etc/ssh/sshd_config.d/*.conf\n")
    sshd = tmp_path / "bin/sshd"
    sshd.write_text(
        f"#!/bin/sh\n[ -d {tmp_path}/run/sshd ] || {{ echo 'Missing privilege separation directory: /run/sshd' >&2;"
        f" exit 255; }}\ncat >/dev/null\n[ $1 = -t ] || cat {tmp_path}/says\n"
    )
    ss = tmp_path / "bin/ss"
    ss.write_text(f"#!/bin/sh\ncat {tmp_path}/listens\n")
    journal = tmp_path / "bin/journalctl"
    journal.write_text(f"#!/bin/sh\ncat {tmp_path}/journal\n")
    (tmp_path / "journal").write_text("")
    for program in (sshd, ss, journal):
        program.chmod(0o755)
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/cmdline").write_text("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups\0")
    (tmp_path / "says").write_text("port 22\nlistenaddress [::]:22\nlistenaddress 0.0.0.0:22\n")
    (tmp_path / "listens").write_text("")
    (tmp_path / "new.conf").write_text("")
    return tmp_path


def checked(folder: Path, script: str) -> "subprocess.CompletedProcess[str]":
    script = script.replace("/usr/sbin/sshd", f"{folder}/bin/sshd")
    script = script.replace("/run/", f"{folder}/run/").replace("/etc/", f"{folder}/etc/")
    script = script.replace("/proc/", f"{folder}/proc/")
    argv = ["sh", "-c", script, "sshd", str(folder / "new.conf")]
    path = f"{folder}/bin:{os.environ['PATH']}"
    return subprocess.run(argv, env={"PATH": path}, capture_output=True, text=True, check=False)


def test_sshd_can_be_checked_where_its_folder_is_missing(host_folder: Path) -> None:
    """Ubuntu 24.04: while no connection has started the service, there is no /run/sshd, and `sshd -t` failed."""
    done = checked(host_folder, sshd_check())
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((host_folder / "run/sshd").stat().st_mode) == 0o755


def test_a_second_factor_is_not_turned_off(host_folder: Path) -> None:
    """A login by key and code would be shut out, and our own login by key alone would not show it."""
    factors = host_folder / "etc/ssh/sshd_config.d/50-codes.conf"
    factors.write_text("AuthenticationMethods publickey,keyboard-interactive\n")
    done = checked(host_folder, sshd_check())
    assert done.returncode == 1
    assert "write password_logins: true" in done.stderr
    assert checked(host_folder, sshd_check(password_logins=True)).returncode == 0


FACTORS = {
    "with =": ("AuthenticationMethods=publickey,password\n", "etc/ssh/sshd_config.d/50-codes.conf"),
    "quoted": ('authenticationmethods "publickey,password"\n', "etc/ssh/sshd_config.d/50-codes.conf"),
    "for some": ("Match Group ops\n  AuthenticationMethods keyboard-interactive:pam\n", "etc/ssh/sshd_config"),
    "in another folder": ("AuthenticationMethods password,publickey\n", "etc/ssh/site/codes.cfg"),
}


@pytest.mark.parametrize(("line", "path"), FACTORS.values(), ids=FACTORS.keys())
def test_a_second_factor_is_found_however_it_is_written(host_folder: Path, line: str, path: str) -> None:
    """sshd takes `Keyword=value`, quotes, and any Include; these were passed over, and passwords turned off."""
    config = host_folder / "etc/ssh/sshd_config"
    config.write_text(f'Include "/etc/ssh/sshd_config.d/*.conf" {host_folder}/etc/ssh/none/*\nInclude=site/*.cfg\n')
    (host_folder / "etc/ssh/site").mkdir()
    with (host_folder / path).open("a") as file:
        file.write(line)
    done = checked(host_folder, sshd_check())
    assert done.returncode == 1
    assert "write password_logins: true" in done.stderr


BY_KEY = "Accepted publickey for ann from 10.0.0.9 port 5 ssh2: ED25519 SHA256:x\n"
BY_PASSWORD = "Accepted password for ann from 10.0.0.9 port 5 ssh2\n"
BY_CODE = "Accepted keyboard-interactive/pam for CORP\\bob from 10.0.0.9 port 5 ssh2\n"
JOURNALS = {
    "by key": (BY_KEY, ""),
    "by password": (BY_PASSWORD, "ann "),
    "by password, then by key": (BY_PASSWORD + BY_KEY, ""),
    "two people": (BY_PASSWORD + BY_CODE, "CORP\\bob ann "),
    "by Kerberos, and by host": (
        "Accepted gssapi-with-mic for ann from 10.0.0.9 port 5 ssh2\nAccepted hostbased for bob from ::1 port 5 ssh2\n",
        "",
    ),
    "refused ones": ("Failed password for root from 10.0.0.9 port 5 ssh2\n", ""),
}


@pytest.mark.parametrize(("journal", "people"), JOURNALS.values(), ids=JOURNALS.keys())
def test_people_who_log_in_by_password_are_not_shut_out(host_folder: Path, journal: str, people: str) -> None:
    """Our own login, by key, would not notice."""
    (host_folder / "journal").write_text(journal)
    done = checked(host_folder, sshd_check())
    assert (done.returncode == 0) is (not people), done.stderr
    assert people in done.stderr
    for fine in ({"password_logins": True}, {"cloud": "aws"}):
        assert checked(host_folder, sshd_check(**fine)).returncode == 0


HELD, SHARED = 'users:(("sshd",pid=7,fd=3))', 'users:(("sshd",pid=7,fd=3),("systemd",pid=1,fd=9))'
LISTENS = {
    "as before": (f"LISTEN 0 128 0.0.0.0:22 0.0.0.0:* {HELD}\nLISTEN 0 128 [::]:22 [::]:* {HELD}\n", True),
    "a port that is written and not loaded": (f"LISTEN 0 128 0.0.0.0:2222 0.0.0.0:* {HELD}\n", False),
    "one of two": (f"LISTEN 0 1 *:22 *:* {HELD}\nLISTEN 0 1 *:2222 *:* {HELD}\n", False),
    "a tunnel's end": (f"LISTEN 0 128 127.0.0.1:8000 0.0.0.0:* {HELD}\nLISTEN 0 1 [::1]:8000 *:* {HELD}\n", True),
    "a socket of systemd's": (f"LISTEN 0 4096 *:2222 *:* {SHARED}\n", True),
    "others": ('LISTEN 0 511 0.0.0.0:443 0.0.0.0:* users:(("haproxy",pid=9,fd=5))\n', True),
}


NAMED = {
    "a port behind an address": ("0.0.0.0:2222", "port 22\nlistenaddress 0.0.0.0:2222\n", True),
    "one address of all": ("10.0.0.4:22", "port 22\nlistenaddress 0.0.0.0:22\n", True),
    "all, and one is named": ("0.0.0.0:22", "port 22\nlistenaddress 10.0.0.4:22\n", False),
    "another address": ("10.0.0.4:22", "port 22\nlistenaddress 10.0.0.5:22\n", False),
    "another family": ("[::]:22", "port 22\nlistenaddress 0.0.0.0:22\n", False),
    "both families": ("*:22", "port 22\nlistenaddress [::]:22\n", True),
    "a link-local one": ("[fe80::1]%eth0:22", "port 22\nlistenaddress [fe80::1%eth0]:22\n", True),
}


@pytest.mark.parametrize(("at", "says", "fine"), NAMED.values(), ids=NAMED.keys())
def test_a_reload_does_not_move_sshd_to_an_address_that_somebody_wrote(
    host_folder: Path, at: str, says: str, fine: bool
) -> None:
    """A ListenAddress that was written and not loaded came into force; one with a port was refused for no reason."""
    (host_folder / "listens").write_text(f"LISTEN 0 128 {at} 0.0.0.0:* {HELD}\n")
    (host_folder / "says").write_text(says)
    done = checked(host_folder, sshd_check())
    assert (done.returncode == 0) is fine, done.stderr


@pytest.mark.parametrize(("listens", "fine"), LISTENS.values(), ids=LISTENS.keys())
def test_a_reload_does_not_move_sshd_to_a_port_that_somebody_wrote(host_folder: Path, listens: str, fine: bool) -> None:
    """It would stay there when our file is taken back, since the port is not ours."""
    (host_folder / "listens").write_text(listens)
    done = checked(host_folder, sshd_check())
    assert (done.returncode == 0) is fine, done.stderr
    assert ("a reload would move it" in done.stderr) is not fine


def test_a_port_of_sshds_command_line_stays_where_it_is(host_folder: Path) -> None:
    (host_folder / "listens").write_text(LISTENS["a port that is written and not loaded"][0])
    (host_folder / "proc/7/cmdline").write_text("/usr/sbin/sshd\0-D\0-p\0" + "2222\0")
    assert checked(host_folder, sshd_check()).returncode == 0


def test_sshd_is_checked_before_the_file_is_in_place() -> None:
    assert "sshd -t" in sshd_check()


def test_ports_and_tunnels_of_others_stay_as_the_inventory_says() -> None:
    """A WireGuard port was closed by the first rules: only SSH and the gateway were let in."""
    open_ports = ("51820/udp", "41641/udp", "9100/tcp", "6000-6010/tcp")
    resources = wishes(open_ports=open_ports, closed_ports=("111/tcp",))
    rules = content(RULES, resources)
    assert "\t\ttcp dport { 9100, 6000-6010 } accept\n" in rules
    assert "\t\tudp dport { 51820, 41641 } accept\n" in rules
    assert "111" not in rules
    assert "meta l4proto { 4, 41, 47, 50, 51, 97, 108, 115 } accept" in rules
    assert "meta l4proto { 2, 89, 112 } accept" in rules  # without VRRP both routers of a pair take the shared address
    assert "l4proto" not in content(RULES, wishes(cloud="aws"))
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
def test_the_firewall_opens_ssh_and_the_gateway_to_whom_they_are_meant_for(
    changed: dict[str, Any], rules: list[str]
) -> None:
    lines = [line.strip() for line in content(RULES, wishes(**changed)).splitlines()]
    assert [line for line in lines if "tcp dport" in line] == rules


def test_the_gateways_port_is_the_specs() -> None:
    assert [door.ports for door in doors(host(), GatewaySpec(port=8443))] == ["22", "8443"]


def test_packages_are_asked_for_once() -> None:
    assert [each.name for each in wishes() if isinstance(each, Packages)] == ["base"]


@pytest.mark.parametrize("changed", [{}, {"cloud": "aws"}, {"open_ports": ("51820/udp", "6000-6010/tcp", "9/tcp")}])
def test_nft_takes_the_rules(tmp_path: Path, changed: dict[str, Any]) -> None:
    (tmp_path / "rules.nft").write_text(content(RULES, wishes(**changed)))
    argv = ["unshare", "--map-root-user", "--net", "/usr/sbin/nft", "--file", str(tmp_path / "rules.nft")]
    subprocess.run(argv, check=True)
