"""What all services share: the files of their package, and one hardened unit template."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.paths import CHECKOUT
from provisioning.converge.resources import File
from provisioning.roles.host.layout import LIB_DIR
from provisioning.templates.render import render

FOLDER = f"{LIB_DIR}/services"
SHARED = ("__init__.py", "systemd.py")
"""Files of services/ that every service imports."""

SYSTEM_PYTHON = "/usr/bin/python3"
"""For a service that needs the standard library only."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service, as its unit needs it. No value needs quotes."""

    unit: str
    description: str
    package: str
    """Folder below services/."""
    user: str
    arguments: tuple[str, ...] = ()
    python: str = SYSTEM_PYTHON
    environment_files: tuple[str, ...] = ()
    """Root-only files with secrets, which systemd reads."""
    runtime_directory: str = ""
    """Below /run, the user's own; it stays when the service restarts."""
    writes: tuple[str, ...] = ()
    """Folders of its user. A data volume that had another machine before may know that user by another number."""
    allowed_addresses: tuple[str, ...] = ("localhost",)
    """Addresses and networks that it may talk to. `any` sets no limit."""
    after: tuple[str, ...] = ()
    """Units that start before it."""
    sees_processes: bool = False
    """Whether it reads the processes of other users in /proc."""
    gpu_devices: tuple[str, ...] = ()
    credentials: tuple[tuple[str, str], ...] = ()
    """Names and root-only files with secrets: systemd gives it copies in $CREDENTIALS_DIRECTORY."""
    mounts: tuple[tuple[str, str], ...] = ()
    """Files of the host, and where it sees them."""
    wants: tuple[str, ...] = ()
    """Units that systemd starts, and runs to their end if they have one, before each start."""
    memory_max_mib: int = 256
    tasks_max: int = 128
    stop_s: int = 20
    """How long it may take to stop."""

    @property
    def unit_path(self) -> str:
        """Path of the unit file."""
        return f"/etc/systemd/system/{self.unit}"


def service_files(*packages: str) -> list[File]:
    """Return the files of the packages, with those that every service imports."""
    root = CHECKOUT / "services"
    found = (path for name in packages for path in sorted((root / name).glob("*.py")))
    return [_file(root, path) for path in (*(root / name for name in SHARED), *found)]


def _file(root: Path, path: Path) -> File:
    return File(path=f"{FOLDER}/{path.relative_to(root)}", content=path.read_text(encoding="utf-8"))


def unit_file(service: Service, after: Sequence[str] = ()) -> File:
    """Return the unit file of a service; `after` are ids of resources that come first."""
    content = render("service.service.j2", service=service, lib_dir=LIB_DIR)
    return File(path=service.unit_path, content=content, after=tuple(after))
