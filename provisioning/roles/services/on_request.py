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
    words = {"request": request, "folder": request.rpartition("/")[0], "commands": commands}
    watches = f"Watch for the request: {description[0].lower()}{description[1:]}"
    files = [
        File(
            path=f"/etc/systemd/system/{name}",
            content=render(template, description=description, watches=watches, **words),
        )
        for name, template in ((unit, "on-request.service.j2"), (path_unit, "on-request.path.j2"))
    ]
    after = tuple(each.id for each in files)
    # With a command that says so, nobody waits to see whether the unit stays active.
    ready = ("systemctl", "--quiet", "is-active", path_unit)
    return [*files, Unit(name=path_unit, restart_on=after, ready=ready, after=after)]
