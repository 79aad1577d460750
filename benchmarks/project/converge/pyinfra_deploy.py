"""The benchmark's resources for pyinfra, which runs this file in its own environment."""

import io
import sys
from pathlib import Path
from typing import Any

from pyinfra.operations import apt, files, server, systemd  # type: ignore[import-not-found]  # in its own environment

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.project.converge import resources

apt.packages(name="packages", packages=list(resources.PACKAGES), _sudo=True)
login: dict[str, Any] = {"home": resources.HOME, "shell": "/usr/sbin/nologin", "create_home": False}
server.user(name="user", user=resources.USER, system=True, **login, _sudo=True)
for path in resources.DIRECTORIES:
    mode = f"{resources.DIRECTORY_MODE:o}"
    files.directory(name=path, path=path, user="root", group=resources.USER, mode=mode, _sudo=True)
for path, content in resources.FILES.items():
    owner = {"user": "root", "group": resources.file_group(path), "mode": f"{resources.file_mode(path):o}"}
    files.put(name=path, src=io.StringIO(content), dest=path, **owner, _sudo=True)
key, value = resources.SYSCTL
server.sysctl(name="sysctl", key=key, value=value, persist=True, _sudo=True)
for unit in resources.UNITS:
    systemd.service(name=unit, service=unit, running=True, enabled=True, _sudo=True)
