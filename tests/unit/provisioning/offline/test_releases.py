"""Where packages of a release come from, and what proves them."""

import platform

import pytest

from core.errors import UsageError
from provisioning.offline import releases
from provisioning.offline.debs import CHOSEN, file_name
from provisioning.offline.releases import RELEASES, find_release


def test_a_release_without_its_keyring_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "UBUNTU_KEYRING", "/nonexistent.gpg")
    monkeypatch.setattr(platform, "freedesktop_os_release", dict)
    with pytest.raises(UsageError, match=r"ubuntu-24.04: there is no /nonexistent\.gpg"):
        RELEASES["ubuntu-24.04"].sources()


def test_public_sources_are_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "UBUNTU_KEYRING", "/etc/hostname")
    monkeypatch.setattr(platform, "freedesktop_os_release", dict)
    sources = RELEASES["ubuntu-24.04"].sources()
    assert [line.split()[3] for line in sources] == ["noble", "noble-updates", "noble-security"]
    assert all(line.startswith("deb [signed-by=/etc/hostname] http://") for line in sources)


def test_an_unknown_release_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"did you mean ubuntu-24.04\?"):
        find_release("ubuntu-24.4")


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("Inst haproxy (2.6.12-1+deb12u2 Debian:12.11/stable [amd64])", "haproxy_2.6.12-1+deb12u2_amd64.deb"),
        ("Inst dbus [1.14.8-1] (1:1.14.10 Debian:12.11/stable [amd64]) []", "dbus_1%3a1.14.10_amd64.deb"),
        ("Inst tzdata (2025b-0 Debian:12.11/stable, Debian-Security:12 [all])", "tzdata_2025b-0_all.deb"),
    ],
)
def test_a_line_of_apt_names_the_file_that_it_downloads(line: str, file: str) -> None:
    found = CHOSEN.search(f"Reading…\n{line}\nConf x\n")
    assert found is not None
    assert file_name(**found.groupdict()) == file
