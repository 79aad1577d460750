"""The driver's packages: the repository named, one version pinned, installed and held."""

from __future__ import annotations

import fcntl
import re
from pathlib import Path
from urllib.parse import urlsplit

from .facts import PREFERENCES, look
from .host import RefusedError, finish, must, text, write
from .kernels import choose, in_apt
from .verdict import REPOSITORY_ARCH, of_driver, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Wanted = dict[str, Any]

SOURCES = Path("/etc/apt/sources.list.d/llm-deploy-nvidia.sources")
OTHERS = Path("/etc/apt/preferences.d/llm-deploy-nvidia-others")
"""There when the driver is none of ours."""

OTHERS_STAY = """\
# Written by llm-deploy (nvidia role): the driver that is here stays, so of this repository only what tells of GPUs.
Package: *
Pin: origin "{host}"
Pin-Priority: -1

Package: datacenter-gpu-manager*
Pin: origin "{host}"
Pin-Priority: 500
"""

LISTS_LOCK = Path("/var/lib/apt/lists/lock")
APT = ("apt-get", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=600")
PINNED = "*nvidia* libcuda* libnv* cuda-drivers*"


def repository(wanted: Wanted, facts: Any) -> str:
    """Return what the repository's file should hold; nothing when the host names that repository elsewhere.

    apt refuses two entries of one repository that name different keys, and the image's own entry is as good.
    """
    known = wanted["repositories"].get(facts.system)
    if known is None:
        return ""
    uri = known["uri"].format(arch=REPOSITORY_ARCH.get(facts.architecture, ""))
    apt = Path("/etc/apt")
    others = (path for path in (apt / "sources.list", *apt.glob("sources.list.d/*")) if path != SOURCES)
    entries = (line.split("#")[0] for path in others for line in text(path).splitlines())
    if any(uri.rstrip("/") in entry for entry in entries):
        return ""
    return f"Types: deb\nURIs: {uri}\nSuites: /\nSigned-By: {wanted['key']}\n"


def others_stay(wanted: Wanted, facts: Any) -> str:
    """Return what keeps apt from swapping a driver of others for the repository's; nothing where it is not needed.

    Libraries that change under a loaded module break CUDA until a reboot. Where the image names the repository itself,
    what comes from there was settled by whoever made it.
    """
    entry = "" if facts.managed else repository(wanted, facts)
    found = re.search(r"^URIs: (\S+)$", entry, flags=re.MULTILINE)
    return OTHERS_STAY.format(host=urlsplit(found[1]).hostname) if found else ""


def repository_is_named(wanted: Wanted, facts: Any) -> bool:
    """Return whether apt knows the repository, and how much of it to take."""
    content = repository(wanted, facts)
    named = not content or text(SOURCES) == content.strip()
    return named and text(OTHERS) == others_stay(wanted, facts).strip()


def name_repository(wanted: Wanted, facts: Any) -> None:
    """Name the repository to apt, and before that how much of it to take."""
    limits, content = others_stay(wanted, facts), repository(wanted, facts)
    if limits:
        write(OTHERS, limits)
    else:
        OTHERS.unlink(missing_ok=True)
    if content:
        write(SOURCES, content)


def preferences(version: str) -> str:
    """Return what makes apt take one version of the driver."""
    return f"Package: {PINNED}\nPin: version {version}-*\nPin-Priority: 1001\n"


def pin(wanted: Wanted, facts: Any) -> None:
    """Tell apt to take one version of the driver, whatever the repositories have besides; let go of the former one."""
    former = re.search(r"^Pin: version (\S+)-\*$", text(PREFERENCES), flags=re.MULTILINE)
    held = [name for name in facts.held if former and facts.packages.get(name) == former[1]]
    if held:
        must("apt-mark", "unhold", *held)
    write(PREFERENCES, preferences(wanted["version"]))
    OTHERS.unlink(missing_ok=True)


def update_lists() -> None:
    """Fetch apt's lists, after whoever else is at it: unlike dpkg's lock, apt does not wait for this one."""
    with LISTS_LOCK.open("a", encoding="ascii") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
    must(*APT, "update")


def install(wanted: Wanted, facts: Any) -> str:
    """Install the pinned driver and hold it; return the kernel that it was built for. Raises RefusedError."""
    why_not = refusal(wanted, facts)
    if why_not:
        raise RefusedError(why_not)
    known = wanted["repositories"][facts.system]
    if known["uri"]:  # else a bundle is apt's only source
        name_repository(wanted, facts)
    pin(wanted, facts)
    finish("dpkg", "--configure", "-a", "--force-confold")  # what a cut-off run left; where it fails, apt says why
    update_lists()
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
    packages = [*known["packages"], *(known["switch_packages"] if facts.switches else [])]
    must(*APT, "install", "--allow-downgrades", *headers, *packages)
    must("apt-mark", "hold", *sorted(of_driver(wanted, look(root))))
    return kernel
