"""Programs of packages that this project configures with a drop-in, and does not take over from somebody else.

A changed conffile of a package would hold back its security updates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from provisioning.converge.resources import Command, File
from provisioning.roles.monitoring.exporters import MONITORING_DIR
from provisioning.templates.render import render


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A program of a package."""

    unit: str
    package: str
    config: str
    """Without this file it does not start."""
    environment: tuple[str, ...]
    """`NAME=VALUE`, instead of the package's file in /etc/default."""
    memory_mib: int
    writes: tuple[str, ...] = ()
    """Folders that it writes."""
    credentials: tuple[str, ...] = ()
    """`NAME:PATH` of files that only root may read."""
    more: tuple[str, ...] = ()
    """Further lines of the section [Service]."""
    loopback_only: bool = True
    """Whether it may connect to this host alone."""
    folder: str = MONITORING_DIR
    """Folder of its files."""

    @property
    def drop_in(self) -> File:
        """Its file."""
        text = render("monitoring/drop-in.conf.j2", **vars(self))
        return File(path=drop_in_path(self.unit), content=text, after=(f"directory:{self.folder}",))


def drop_in_path(unit: str) -> str:
    """Return where the settings of a package's unit are."""
    return f"/etc/systemd/system/{unit}.d/50-llm-deploy.conf"


def not_for_others(name: str, units: Sequence[str], *, ours: str, key: str, enabled: bool = False) -> Command:
    """Return the check that fails where one of `units` runs already: it has its own settings, data and readers.

    It passes where the path `ours` exists. `key` of the stack file asks for the units. `enabled`: it also fails where
    one is only enabled. The distribution's packages enable their units themselves.
    """
    words = f"runs here for something else; leave out {key}, or stop and disable it"
    states = ("is-active", "is-enabled") if enabled else ("is-active",)
    runs = " || ".join(f'systemctl -q {state} "$unit"' for state in states)
    look = f'{{ {runs}; }} 2>/dev/null && echo "planned: fail: $unit {words}"'
    return Command(
        name=name,
        argv=("true",),
        check=("sh", "-c", f"[ -e {ours} ] || for unit; do {look}; done; true", "sh", *units),
    )


def left_behind(unit: str, *files: str) -> Command:
    """Return what removes a program that this host had under an earlier stack file, with `files`.

    Does not touch a program without our settings: somebody else uses it.
    """
    ours = drop_in_path(unit)
    # A run that ended early leaves a drop-in without its unit.
    stop = f'[ "$(systemctl show --value -p LoadState {unit})" = not-found ] || systemctl disable --now {unit}'
    remove = f"{{ {stop}; }} && rm -rf {' '.join((*files, ours))} && systemctl daemon-reload"
    return Command(name=f"no-{unit}", argv=("sh", "-c", remove), check=("sh", "-c", f"! [ -e {ours} ]"))
