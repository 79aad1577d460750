"""The check before sshd reads our new file: it finds logins that our own login, by key, would not notice."""

import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from provisioning.converge.resources import SshdFile
from provisioning.roles.host.sshd_check import last_file_check
from tests.unit.provisioning.roles.host.test_base import desired


def sshd_check(**changed: Any) -> str:
    """Return the script that checks sshd's settings before they are installed."""
    (file,) = (each for each in desired(**changed) if isinstance(each, SshdFile))
    return file.check[2]


@pytest.fixture
def host_folder(tmp_path: Path) -> Path:
    """A host's /run and /etc/ssh, with an sshd that needs its folder like the real one."""
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


def test_sshd_can_be_checked_without_its_folder(host_folder: Path) -> None:
    """Ubuntu 24.04: while no connection has started the service, there is no /run/sshd, and `sshd -t` failed."""
    done = checked(host_folder, sshd_check())
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((host_folder / "run/sshd").stat().st_mode) == 0o755


def test_a_second_factor_is_not_turned_off(host_folder: Path) -> None:
    """A login by key and code would be locked out, and our own login by key alone would not show it."""
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
    "included by an included file": ("AuthenticationMethods password,publickey\n", "etc/ssh/more/a.conf"),
    "for some, in a file three deep": ("Match User ann\n AuthenticationMethods password\n", "etc/ssh/more/deep/b.conf"),
}


@pytest.mark.parametrize(("line", "path"), FACTORS.values(), ids=FACTORS.keys())
def test_a_second_factor_is_found_however_it_is_written(host_folder: Path, line: str, path: str) -> None:
    """sshd accepts `Keyword=value`, quotes, and any Include; these were ignored, and passwords turned off."""
    config = host_folder / "etc/ssh/sshd_config"
    config.write_text(f'Include "/etc/ssh/sshd_config.d/*.conf" {host_folder}/etc/ssh/none/*\nInclude=site/*.cfg\n')
    for name in ("site", "more/deep"):
        (host_folder / "etc/ssh" / name).mkdir(parents=True)
    (host_folder / "etc/ssh/site/more.cfg").write_text("Match Group ops\n  Include more/*.conf\n")
    (host_folder / "etc/ssh/more/again.conf").write_text(f"Include {host_folder}/etc/ssh/more/deep/*.conf site/*.cfg\n")
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
    "by password": (BY_PASSWORD, "ann;"),
    "by password, then by key": (BY_PASSWORD + BY_KEY, ""),
    "two people": (BY_PASSWORD + BY_CODE, "CORP\\bob ann;"),
    "by Kerberos, and by host": (
        "Accepted gssapi-with-mic for ann from 10.0.0.9 port 5 ssh2\nAccepted hostbased for bob from ::1 port 5 ssh2\n",
        "",
    ),
    "refused ones": ("Failed password for root from 10.0.0.9 port 5 ssh2\n", ""),
}


@pytest.mark.parametrize(("journal", "people"), JOURNALS.values(), ids=JOURNALS.keys())
def test_people_who_log_in_by_password_are_not_locked_out(host_folder: Path, journal: str, people: str) -> None:
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
def test_a_reload_does_not_activate_an_unloaded_listen_address(
    host_folder: Path, at: str, says: str, fine: bool
) -> None:
    """A ListenAddress that was written and not loaded came into force; one with a port was refused without reason."""
    (host_folder / "listens").write_text(f"LISTEN 0 128 {at} 0.0.0.0:* {HELD}\n")
    (host_folder / "says").write_text(says)
    done = checked(host_folder, sshd_check())
    assert (done.returncode == 0) is fine, done.stderr


@pytest.mark.parametrize(("listens", "fine"), LISTENS.values(), ids=LISTENS.keys())
def test_a_reload_does_not_activate_an_unloaded_port(host_folder: Path, listens: str, fine: bool) -> None:
    """sshd would keep the port after our file is undone, because the port is not in our file."""
    (host_folder / "listens").write_text(listens)
    done = checked(host_folder, sshd_check())
    assert (done.returncode == 0) is fine, done.stderr
    assert ("a reload would move it" in done.stderr) is not fine


def test_a_port_of_sshds_command_line_stays_where_it_is(host_folder: Path) -> None:
    (host_folder / "listens").write_text(LISTENS["a port that is written and not loaded"][0])
    (host_folder / "proc/7/cmdline").write_text("/usr/sbin/sshd\0-D\0-p\0" + "2222\0")
    assert checked(host_folder, sshd_check()).returncode == 0


RESTRICTS = {
    "users": ("etc/ssh/sshd_config.d/50-site.conf", "AllowUsers ann", True),
    "groups, with =": ("etc/ssh/sshd_config", "  allowgroups=ops", True),
    "for some": ("etc/ssh/sshd_config.d/50-site.conf", "Match Address 10.0.0.0/8\n  DenyUsers root", True),
    "included by an included file": ("etc/ssh/more.conf", "DenyGroups ops", True),
    "root": ("etc/ssh/sshd_config.d/50-site.conf", "PermitRootLogin no", True),
    "a comment": ("etc/ssh/sshd_config.d/50-site.conf", "# AllowUsers ann", False),
    "something else": ("etc/ssh/sshd_config.d/50-site.conf", "Banner /etc/issue.net", False),
    "a file that sshd does not read": ("etc/ssh/sshd_config.d/50-site.conf.save", "AllowUsers ann", False),
    "our own file": (
        "etc/ssh/sshd_config.d/20-llm-tunnel.conf",
        "Match User llm-tunnel\n  AllowUsers llm-tunnel",
        False,
    ),
}


@pytest.fixture
def running_sshd(host_folder: Path) -> Path:
    """A host's folder with an sshd that has read its files."""
    (host_folder / "etc/ssh/sshd_config.d/40-more.conf").write_text("Include more.conf\n")
    pid_file = host_folder / "run/sshd.pid"
    (host_folder / "says").write_text(f"port 22\nlistenaddress 0.0.0.0:22\npidfile {pid_file}\n")
    pid_file.write_text("7\n")
    return host_folder


def written(folder: Path, path: str, line: str, *, before_sshd_began: bool) -> None:
    """Write a line into one of sshd's files, before or after sshd read its files."""
    (folder / path).write_text(f"{line}\n")
    changed_s = (folder / path).stat().st_ctime + (1 if before_sshd_began else -1)
    os.utime(folder / "run/sshd.pid", (changed_s, changed_s))


@pytest.mark.parametrize(("path", "line", "restricts"), RESTRICTS.values(), ids=RESTRICTS)
def test_a_reload_does_not_activate_an_unloaded_rule(running_sshd: Path, path: str, line: str, restricts: bool) -> None:
    """AllowUsers was in a file that was not loaded yet: our reload of sshd loaded it, and locked users out."""
    written(running_sshd, path, line, before_sshd_began=False)
    for script in (sshd_check(), sshd_check(password_logins=True), last_file_check()[2]):
        done = checked(running_sshd, script)
        assert (done.returncode == 0) is not restricts, done.stderr
        assert not restricts or line.splitlines()[-1].strip() in done.stderr
        assert not restricts or "run `systemctl reload ssh` on the host" in done.stderr
    listed = restricts and re.search("(allow|deny)(users|groups)", line, re.IGNORECASE) is not None
    assert (checked(running_sshd, sshd_check(cloud="aws")).returncode == 0) is not listed


def test_rules_that_sshd_has_read_stay_in_force(running_sshd: Path) -> None:
    written(running_sshd, "etc/ssh/sshd_config.d/50-site.conf", "AllowUsers ann", before_sshd_began=True)
    done = checked(running_sshd, sshd_check())
    assert done.returncode == 0, done.stderr


def test_a_stopped_sshd_reads_its_files_at_the_next_connection(running_sshd: Path) -> None:
    """Ubuntu 24.04: the socket starts it for a connection, so our reload activates nothing."""
    written(running_sshd, "etc/ssh/sshd_config.d/50-site.conf", "AllowUsers ann", before_sshd_began=False)
    (running_sshd / "run/sshd.pid").write_text("8\n")
    assert checked(running_sshd, sshd_check()).returncode == 0
    (running_sshd / "run/sshd.pid").unlink()
    assert checked(running_sshd, sshd_check()).returncode == 0


@pytest.mark.parametrize(("listens", "fine"), [("0.0.0.0:22", True), ("0.0.0.0:2222", False)])
def test_the_reload_for_a_tunnel_does_not_move_sshd(running_sshd: Path, listens: str, fine: bool) -> None:
    """Only our first file was checked for it."""
    (running_sshd / "listens").write_text(f"LISTEN 0 128 {listens} 0.0.0.0:* {HELD}\n")
    assert (checked(running_sshd, last_file_check()[2]).returncode == 0) is fine


def test_sshd_is_checked_before_the_file_is_in_place() -> None:
    assert "sshd -t" in sshd_check()
