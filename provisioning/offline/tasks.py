"""The task `bundle`. fabfile.py imports it."""

from typing import Any

from core.console import say
from provisioning.cli.task import ALL_ROLES, HOSTS, Names, chosen_roles, fab_task
from provisioning.hosts.target import Target

BUNDLE = HOSTS | {
    "roles": f"Comma-separated roles in the bundle (default {ALL_ROLES}).",
    "out": "Archive to write; default: bundles/<stack>.tar.",
    "os-release": "Release of the hosts, e.g. ubuntu-24.04; default: os_release of the inventory.",
    "kernel": "Kernel of GPU hosts, as `uname -r` prints it; may be given several times. present: headers are there.",
    "with-secrets": "Put certificate keys into the archive, not into a file beside it.",
}


@fab_task(BUNDLE)
def bundle(
    _: Any,
    *,
    stack: str = "",
    inventory: str = "",
    host: Names = (),
    roles: str = ALL_ROLES,
    out: str = "",
    os_release: str = "",
    kernel: Names = (),
    with_secrets: bool = False,
) -> int:
    """Write an archive that provisions hosts without network; connects to no host."""
    target, chosen = Target(stack, inventory), chosen_roles(roles)
    say(f"→ bundle {target.name}: packages, wheels, models and their installer")
    from provisioning.offline.bundle import make_bundle

    return make_bundle(
        target,
        names=host,
        roles=chosen,
        out=out,
        os_release=os_release,
        kernels=kernel,
        with_secrets=with_secrets,
    )
