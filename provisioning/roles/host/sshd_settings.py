"""A file of sshd settings, and the unit that undoes it at boot if no second login has confirmed it.

The agent's own guard is a timer, which does not survive a reboot (agent/kinds/sshd_file.py).
"""

from dataclasses import replace
from pathlib import PurePosixPath

from provisioning.converge.agent.kinds.sshd_file import before_path
from provisioning.converge.resources import File, Link, Resource, SshdFile
from provisioning.templates.render import render


def sshd_settings(file: SshdFile, role: str) -> list[Resource]:
    """Return the file, after the unit that guards it at boot. The unit is linked and never started by hand."""
    name = f"llm-sshd-boot-{PurePosixPath(file.path).stem}.service"
    path = f"/etc/systemd/system/{name}"
    content = render("sshd-boot.service.j2", role=role, path=file.path, before=before_path(file.path))
    unit = File(path=path, content=content)
    link = Link(path=f"/etc/systemd/system/sysinit.target.wants/{name}", target=path, after=(unit.id,))
    return [unit, link, replace(file, after=(*file.after, link.id))]
