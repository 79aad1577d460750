"""The task `bundle`. fabfile.py takes it up."""

from collections.abc import Callable
from typing import Any

from fabric import task

from core.console import say
from provisioning.target import Target
from provisioning.task_end import end

BUNDLE = {
    "stack": "Stack whose machines are meant.",
    "inventory": "YAML or JSON file of hosts that exist already, in place of a stack.",
    "host": "Only this host of them; may be given several times.",
    "roles": "Comma-separated parts that the bundle brings (default base,engine,gateway).",
    "out": "Archive to write; none: bundles/<stack>.tar.",
    "os-release": "Release of the hosts, e.g. ubuntu-24.04; none: as the inventory says.",
    "with-secrets": "Put certificate keys into the archive, in place of a file beside it.",
}

Task = Callable[..., None]
_bundle: Callable[[Task], Task] = task(help=BUNDLE, iterable=["host"], auto_shortflags=False)


@_bundle
def bundle(
    _: Any,
    *,
    stack: str = "",
    inventory: str = "",
    host: tuple[str, ...] = (),
    roles: str = "base,engine,gateway",
    out: str = "",
    os_release: str = "",
    with_secrets: bool = False,
) -> None:
    """Write one archive that provisions hosts without network; reaches no host."""

    def run() -> int:
        target = Target(stack, inventory)
        say(f"→ bundle {target.name}: packages, wheels, models, and what installs them")
        from provisioning.offline.bundle import make_bundle

        return make_bundle(
            target, names=host, roles=roles.split(","), out=out, os_release=os_release, with_secrets=with_secrets
        )

    end(run)
