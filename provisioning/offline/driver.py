"""NVIDIA's driver in a bundle: its signed repository for apt here, and the headers to build the kernel module.

Connects to no host: the user names the kernel that runs there.
"""

import re
from collections.abc import Mapping, Sequence

from core.errors import UsageError
from provisioning.converge.resources import Resource
from provisioning.offline.debs import Vendor
from provisioning.offline.releases import ARCH, Release
from provisioning.programs.nvidia.llm_nvidia.packages import preferences
from provisioning.programs.nvidia.llm_nvidia.verdict import REPOSITORY_ARCH
from provisioning.roles.host.nvidia import has_old_gpus, installs_driver
from provisioning.roles.host.nvidia_driver import Setup

PRESENT = "present"
"""In place of a kernel version: the host has its headers."""
KERNEL = re.compile(r"\d+\.\d+[\w.+~-]*")
WHERE = "--kernel"


def headers(lists: Mapping[str, Sequence[Resource]], kernels: Sequence[str]) -> list[str]:
    """Return the header packages that hosts with GPUs need; `lists` has the resources by the host's name.

    Raises UsageError if such a host's kernel is not given, or if one is given without need.
    """
    hosts = [name for name, resources in lists.items() if installs_driver(resources)]
    if hosts and not kernels:
        what = f"the driver's module is built for the kernel of {', '.join(hosts)}, which is not given"
        raise UsageError(
            what, where=WHERE, hint=f"write what `uname -r` prints there, or {PRESENT} if its headers are installed"
        )
    if kernels and not hosts:
        raise UsageError("no host of this bundle gets a driver", where=WHERE, hint="leave it out")
    wanted = [kernel for kernel in kernels if kernel != PRESENT]
    for kernel in wanted:
        if not KERNEL.fullmatch(kernel):
            raise UsageError(
                f"not a kernel version: {kernel!r}", where=WHERE, hint="write what `uname -r` prints on the host"
            )
    return [f"linux-headers-{kernel}" for kernel in wanted]


def packages(setup: Setup, release: Release, lists: Mapping[str, Sequence[Resource]]) -> list[str]:
    """Return the driver's packages for the hosts of `lists`, and those for NVLink switches, which only a host detects.

    Raises UsageError for GPUs older than Turing beside newer ones: their kernel modules exclude each other.
    """
    known = setup.repositories[release.name]
    old = {name: has_old_gpus(each) for name, each in lists.items() if installs_driver(each)}
    if len(set(old.values())) > 1:
        before = ", ".join(name for name, is_old in old.items() if is_old)
        what = f"{before}: has GPUs older than Turing, which need another kernel module than the other hosts"
        raise UsageError(what, where="bundle", hint="make one bundle for each group, with --host")
    module = known.proprietary_module if any(old.values()) else known.open_module
    return [*known.packages, *([module] if module else []), *known.switch_packages, *known.nvlink_packages]


def vendor(setup: Setup, release: Release) -> Vendor:
    """Return the repository, with the driver's version pinned as it is on a host."""
    uri = setup.repositories[release.name].uri.format(arch=REPOSITORY_ARCH[ARCH])
    return Vendor(uri=uri, key=setup.public_key, preferences=preferences(setup.version))
