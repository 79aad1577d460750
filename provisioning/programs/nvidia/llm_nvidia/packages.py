"""The driver's packages: add the repository, pin one version, install and hold it."""

from __future__ import annotations

import fcntl
import re
from pathlib import Path
from urllib.parse import urlsplit

from . import apt_sources, chips
from .dpkg import mend
from .facts import PREFERENCES, look
from .host import RefusedError, finish, must, output, said, text, write
from .kernels import candidate, choose, frozen, in_apt
from .verdict import REPOSITORY_ARCH, of_driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Wanted = dict[str, Any]

SOURCES = Path("/etc/apt/sources.list.d/llm-deploy-nvidia.sources")
OTHERS = Path("/etc/apt/preferences.d/llm-deploy-nvidia-others")
"""Exists if this project did not install the driver."""

OTHERS_STAY = """\
# Written by llm-deploy (nvidia role): the driver that is here stays, so of this repository only what tells of GPUs.
Package: *
Pin: origin "{host}"
Pin-Priority: -1

Package: datacenter-gpu-manager*
Pin: origin "{host}"
Pin-Priority: 500
"""

APT_FOLDER = Path("/etc/apt")
LISTS_LOCK = Path("/var/lib/apt/lists/lock")
APT = ("apt-get", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=600")
PINNED = "*nvidia* libcuda* libnv* cuda-drivers*"
OF_DRIVER = re.compile(r"(lib)?(nvidia|cuda)(?!-modprobe|-persistenced)")
"""Packages with the driver's version, all pinned. The other two may come from the distribution."""
MODULES_EXTRA = "linux-modules-extra"
"""Ubuntu's package with the module ib_umad, which manages the switches of HGX B200."""


def repository(wanted: Wanted, facts: Any) -> str:
    """Return the content of the repository's file; empty if another file of the host names that repository.

    apt refuses two entries for one repository with different keys, and the image's own entry is equally good.
    """
    known = wanted["repositories"].get(facts.system)
    if known is None:
        return ""
    uri = known["uri"].format(arch=REPOSITORY_ARCH.get(facts.architecture, ""))
    others = [path for path in apt_sources.files(APT_FOLDER) if path != SOURCES]
    if apt_sources.comparable(uri) in apt_sources.uris(others):
        return ""
    return f"Types: deb\nURIs: {uri}\nSuites: /\nSigned-By: {wanted['key']}\n"


def others_stay(wanted: Wanted, facts: Any) -> str:
    """Return the preferences that keep apt from replacing a foreign driver with the repository's; empty if not needed.

    Libraries that change under a loaded module break CUDA until a reboot. If the image itself names the repository,
    its maker has decided what comes from there.
    """
    entry = "" if facts.managed else repository(wanted, facts)
    found = re.search(r"^URIs: (\S+)$", entry, flags=re.MULTILINE)
    return OTHERS_STAY.format(host=urlsplit(found[1]).hostname) if found else ""


def repository_is_named(wanted: Wanted, facts: Any) -> bool:
    """Return whether apt has the repository and its preferences."""
    content = repository(wanted, facts)
    named = not content or text(SOURCES) == content.strip()
    return named and text(OTHERS) == others_stay(wanted, facts).strip()


def name_repository(wanted: Wanted, facts: Any) -> None:
    """Write apt's preferences for the repository, then add the repository."""
    limits, content = others_stay(wanted, facts), repository(wanted, facts)
    if limits:
        write(OTHERS, limits)
    else:
        OTHERS.unlink(missing_ok=True)
    if content:
        write(SOURCES, content)


def preferences(version: str) -> str:
    """Return the preferences that pin one version of the driver."""
    return f"Package: {PINNED}\nPin: version {version}-*\nPin-Priority: 1001\n"


def pin(wanted: Wanted, facts: Any) -> None:
    """Pin one version of the driver for apt, whatever else the repositories have; release the previous one."""
    former = re.search(r"^Pin: version (\S+)-\*$", text(PREFERENCES), flags=re.MULTILINE)
    held = [name for name in facts.held if former and facts.packages.get(name) == former[1]]
    if held:
        must("apt-mark", "unhold", *held)
    write(PREFERENCES, preferences(wanted["version"]))
    OTHERS.unlink(missing_ok=True)


def update_lists(uri: str) -> list[str]:
    """Fetch apt's lists and return apt's complaints. Another source that is dead does not stop this.

    apt waits for dpkg's lock, but not for the lists' lock. Raises RefusedError if apt refuses our `uri`.
    """
    with LISTS_LOCK.open("a", encoding="ascii") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
    _, words = said(*APT, "update")
    complaints = [line for line in words.splitlines() if line.startswith(("E:", "W:", "Err:"))]
    ours = [line for line in complaints if uri and line.startswith("E:") and apt_sources.is_about(line, uri)]
    if ours:
        raise RefusedError(f"NVIDIA's repository cannot be used: {ours[0]}")
    for line in complaints:
        print(f"warning: apt-get update: {line}")
    return complaints


def missing(wanted: Wanted, names: list[str], complaints: list[str]) -> str:
    """Return why apt cannot install the pinned version of a package; empty if it can install all."""
    for name in names:
        found = candidate(name)
        if not found:
            why = f" ({complaints[0]})" if complaints else ""
            return f"apt has no {name}{why}; see `apt-get update`"
        if not may_be(wanted, name, found):
            return (
                f"driver {wanted['version']} is no longer in the repository, which has {found} ({name}); use a newer "
                "checkout, or write that version into provisioning/roles/host/nvidia_driver.py"
            )
    return ""


def may_be(wanted: Wanted, name: str, version: str) -> bool:
    """Return whether package `name` may have this `version`. The driver's packages must have the pinned version."""
    return not OF_DRIVER.match(name) or re.match(rf"(\d+:)?{re.escape(wanted['version'])}-", version) is not None


def wanted_packages(wanted: Wanted, facts: Any) -> list[str]:
    """Return the packages that this host's GPUs need: those of the interconnect, and the module for the oldest GPU."""
    known = wanted["repositories"][facts.system]
    module = known["proprietary_module"] if chips.needs_proprietary(wanted, facts) else known["open_module"]
    return [
        *known["packages"],
        *([module] if module else []),
        *(known["switch_packages"] if chips.needs_fabric(facts) else []),
        *(known["nvlink_packages"] if chips.has_nvlink5(facts) else []),
    ]


def install(wanted: Wanted, facts: Any) -> str:
    """Install the pinned driver and hold it; return the kernel that it is built for. Raises RefusedError."""
    known = wanted["repositories"][facts.system]
    if known["uri"]:  # without a repository, a bundle is apt's only source
        name_repository(wanted, facts)
    pin(wanted, facts)
    left = mend(_call)
    uri = known["uri"].format(arch=REPOSITORY_ARCH.get(facts.architecture, ""))
    complaints = update_lists(uri)
    left = left and mend(_call)
    if left:
        raise RefusedError(left)
    root = Path(wanted["root"])
    kernel, *headers = choose(
        facts.kernel, facts.packages, lambda each: (root / "lib/modules" / each / "build").is_dir(), in_apt
    ) or [""]
    if not kernel:
        helps = "boot one of the distribution's kernels" if known["uri"] else "make a bundle with it as --kernel"
        raise RefusedError(
            f"kernel {facts.kernel} has no headers in apt (linux-headers-{facts.kernel}), so no driver can be built "
            f"for it; {helps}"
        )
    on_hold = frozen(headers, facts.packages, facts.held)
    headers = [name for name in headers if name not in on_hold]
    if on_hold:
        names = " ".join(on_hold)
        print(f"warning: {names}: on hold, so a new kernel may lack headers, and then has no driver")
    packages = wanted_packages(wanted, facts)
    why_not = missing(wanted, packages, complaints)
    if why_not:
        raise RefusedError(why_not)
    extra = [f"{MODULES_EXTRA}-{kernel}"] if chips.has_nvlink5(facts) and in_apt(f"{MODULES_EXTRA}-{kernel}") else []
    status = finish(*APT, "install", "--allow-downgrades", *headers, *extra, *packages)
    if status and not all(is_installed(wanted, name) for name in (*headers, *extra, *packages)):
        raise RefusedError(f"`apt-get install {' '.join(packages)}` ended with status {status}"[:200])
    must("apt-mark", "hold", *sorted(of_driver(wanted, look(root))))
    return kernel


def _call(argv: Sequence[str]) -> tuple[int, str]:
    """Run a program for `mend`; return status and output. dpkg-query's list of all packages is not printed."""
    return (0, output(*argv)) if argv[0] == "dpkg-query" else said(*argv)


def is_installed(wanted: Wanted, name: str) -> bool:
    """Return whether a package is installed and configured, in an accepted version.

    apt also fails because of a package that is unrelated to the driver; the driver is installed then.
    """
    status, _, version = output("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", name).partition(" ")
    return status == "installed" and may_be(wanted, name, version)
