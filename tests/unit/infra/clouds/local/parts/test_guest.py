"""What is written into a machine before it boots."""

import os
from pathlib import Path

import pytest

from core.errors import HostError, UsageError
from infra.clouds.local.parts import guest
from tools import host_settings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """As much of a root filesystem as is written into."""
    root = tmp_path / "root"
    (root / "etc/ssh").mkdir(parents=True)
    (root / "home/admin").mkdir(parents=True)
    (root / "etc/passwd").write_text(f"root:x:0:0::/root:/bin/sh\nadmin:x:{os.getuid()}:{os.getgid()}::/home/admin:\n")
    return root


def test_each_machine_has_its_own_key_and_id(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_settings, "name_servers", lambda: ["192.0.2.53"])
    first = guest.write_identity(root, "local-1")
    machine_id = (root / "etc/machine-id").read_text()
    second = guest.write_identity(root, "local-1")
    assert first.startswith("ssh-ed25519 ")
    assert first != second
    assert machine_id != (root / "etc/machine-id").read_text()
    assert (root / "etc/ssh/ssh_host_ed25519_key").stat().st_mode & 0o777 == 0o600
    assert (root / "etc/resolv.conf").read_text() == "nameserver 192.0.2.53\n"


def test_a_host_that_resolves_on_its_loopback_only_is_reported(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_settings, "name_servers", lambda: [])
    with pytest.raises(UsageError, match="names no name server that a machine can reach"):
        guest.write_identity(root, "local-1")


def test_only_the_given_keys_may_log_in(root: Path) -> None:
    guest.write_authorized_keys(root, ("ssh-ed25519 AAAA", "ssh-ed25519 BBBB"))
    guest.write_authorized_keys(root, ("ssh-ed25519 BBBB",))
    file = root / "home/admin/.ssh/authorized_keys"
    assert file.read_text() == "ssh-ed25519 BBBB\n"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("link", ["home/admin", "home/admin/.ssh"])
def test_a_link_out_of_the_machine_is_not_followed(root: Path, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "home/admin").rmdir() if link == "home/admin" else None
    (root / link).symlink_to(outside)
    with pytest.raises(HostError, match="is a link"):
        guest.write_authorized_keys(root, ("ssh-ed25519 AAAA",))
    assert list(outside.iterdir()) == []
