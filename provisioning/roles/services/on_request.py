"""Two units that run commands of root's when a service without rights makes a file: a path unit and a oneshot.

The file's content is not read: a service can ask for these commands and for nothing else.
"""

from collections.abc import Sequence

from provisioning.converge.resources import File, Resource, Unit
from provisioning.templates.render import render


def on_request(
    path_unit: str, unit: str, description: str, request: str, commands: Sequence[Sequence[str]]
) -> list[Resource]:
    """Return the units that run `commands` whenever the file `request` exists; they remove it first."""
    words = {"description": description, "request": request, "folder": request.rpartition("/")[0]}
    content = render("on-request.service.j2", commands=commands, **words)
    return started_by(path_unit, File(path=f"/etc/systemd/system/{unit}", content=content), description, request)


def started_by(
    path_unit: str, service: File, description: str, request: str, needs: Sequence[str] = ()
) -> list[Resource]:
    """Return the unit file `service` and the path unit that starts it; `needs` are ids of what it runs."""
    watches = f"Watch for the request: {description[0].lower()}{description[1:]}"
    path = File(
        path=f"/etc/systemd/system/{path_unit}",
        content=render("on-request.path.j2", watches=watches, request=request),
    )
    units = (service.id, path.id)
    # With a command that says so, nobody waits to see whether the unit stays active.
    ready = ("systemctl", "--quiet", "is-active", path_unit)
    return [service, path, Unit(name=path_unit, restart_on=units, ready=ready, after=(*needs, *units))]
