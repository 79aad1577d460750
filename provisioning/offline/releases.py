"""Facts about the releases of distributions that a bundle can be for: package sources, Python, C library."""

import platform
from dataclasses import dataclass
from pathlib import Path

from core.errors import UsageError
from core.reading.rules import one_of
from tools.host_packages import DEBIAN_KEYRING
from tools.host_settings import apt_sources

UBUNTU_KEYRING = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
ARCH = "amd64"
MANYLINUX_FROM = 5
"""manylinux_2_5 is the oldest tag that PyPI accepted."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One release of a distribution."""

    name: str
    """As in HostRecord.os_release."""
    suite: str
    python: str
    glibc_minor: int
    """The x of glibc 2.x: wheels for a newer one do not load."""

    @property
    def distribution(self) -> str:
        """`debian` or `ubuntu`."""
        return self.name.partition("-")[0]

    @property
    def platforms(self) -> tuple[str, ...]:
        """Tags of the wheels that load there."""
        numbered = (f"manylinux_2_{minor}_x86_64" for minor in range(self.glibc_minor, MANYLINUX_FROM - 1, -1))
        return (*numbered, "manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64")

    def sources(self) -> list[str]:
        """Return apt's sources: this machine's if it runs the same release, else the public ones.

        Raises UsageError if the distribution's signing key is missing.
        """
        own = apt_sources(self.suite) if self._is_ours() else []
        if own:
            return own
        keyring = DEBIAN_KEYRING if self.distribution == "debian" else UBUNTU_KEYRING
        if not Path(keyring).exists():
            hint = f"make the bundle on {self.distribution.title()}, or copy that file from such a host"
            raise UsageError(f"there is no {keyring} to verify its packages with", where=self.name, hint=hint)
        if self.distribution == "debian":
            security = f"deb [signed-by={keyring}] http://deb.debian.org/debian-security {self.suite}-security main"
            mirror, parts = "http://deb.debian.org/debian", "main"
        else:
            mirror, parts = "http://archive.ubuntu.com/ubuntu", "main universe"
            security = f"deb [signed-by={keyring}] http://security.ubuntu.com/ubuntu {self.suite}-security {parts}"
        usual = [
            f"deb [signed-by={keyring}] {mirror} {suite} {parts}" for suite in (self.suite, f"{self.suite}-updates")
        ]
        return [*usual, security]

    def _is_ours(self) -> bool:
        try:
            return platform.freedesktop_os_release().get("VERSION_CODENAME") == self.suite
        except OSError:
            return False


RELEASES = {
    each.name: each
    for each in (
        Release(name="debian-12", suite="bookworm", python="3.11", glibc_minor=36),
        Release(name="ubuntu-22.04", suite="jammy", python="3.10", glibc_minor=35),
        Release(name="ubuntu-24.04", suite="noble", python="3.12", glibc_minor=39),
    )
}


def find_release(name: str) -> Release:
    """Return a release by its name. Raises UsageError for an unknown one."""
    if name not in RELEASES:
        raise UsageError(f"there is no release {name!r}", where="--os-release", hint=one_of(RELEASES, name))
    return RELEASES[name]
