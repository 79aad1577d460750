"""The files that this host keeps for each machine: one folder, one record, one lock. Does not know how machines run.

/var/lib/llm-deploy/machines/<id>/record.json    written before anything else is made, removed after everything else
                                 disk.img        its disk, mounted at root/ (infra/clouds/local/parts/disk.py)
                                 root/           the machine's root filesystem
/var/lib/llm-deploy/machines/.<id>.lock          held while the machine is made, changed or removed
/var/lib/llm-deploy/machines/.host.json, .host.lock   what machines share: addresses, forwarding
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

from core.errors import HostError
from core.files import write_atomically
from core.reading.strict_json import parse_object
from infra.clouds.local.parts.removal import remove_tree
from serving.spec.pool_name import MAIN

STORE = Path("/var/lib/llm-deploy/machines")
"""One place for all checkouts of this host: they share addresses and interfaces."""


@dataclass(frozen=True, kw_only=True)
class MachineRecord:
    """One machine. The record exists before the machine's first file and until after its last."""

    id: str
    owner: str
    """The state folder of its checkout: two checkouts may both have a machine called local-1."""
    stack: str
    name: str
    memory_mib: int
    cpus: float
    public_keys: tuple[str, ...]
    disk_gib: float = 0.0
    """Size of its disk; 0 for machines that were made before disks had one."""
    address_index: int = -1
    """Index of its /30 in the range of infra/clouds/local/parts/network.py. -1: none is chosen yet."""
    host_key: str = ""
    """Public half of its SSH host key; empty until it is made."""
    phase: Literal["creating", "ready", "removing"] = "creating"

    @property
    def folder(self) -> Path:
        """Its folder."""
        return STORE / self.id

    @property
    def root(self) -> Path:
        """Its root filesystem."""
        return self.folder / "root"

    @property
    def pid_file(self) -> Path:
        """Where the supervisor writes its process."""
        return self.folder / "supervisor.pid"

    @property
    def log_file(self) -> Path:
        """What supervisor, nspawn and the machine's console print."""
        return self.folder / "console.log"

    def save(self) -> None:
        """Write the record, in one step."""
        STORE.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        write_atomically(self.folder / "record.json", json.dumps(asdict(self), indent=2) + "\n", mode=0o600)

    def changed(self, **values: Any) -> "MachineRecord":
        """Return a saved copy with some values changed."""
        other = replace(self, **values)
        other.save()
        return other


def machine_id(owner: str, stack: str, name: str) -> str:
    """Return the id that this owner's machine always has. It fits into an interface name (15 characters)."""
    return hashlib.sha256("\0".join((owner, stack, name)).encode()).hexdigest()[:8]


def machine_name(stack: str, number: int, pool: str = MAIN) -> str:
    """Return the name of a stack's machine in `pool`; the first has number 1."""
    return f"{stack}-{number}" if pool == MAIN else f"{stack}-{pool}-{number}"


def load(identity: str) -> MachineRecord | None:
    """Return the record of a machine. None: there is none. Raises HostError when it cannot be read."""
    path = STORE / identity / "record.json"
    try:
        values = parse_object(path.read_bytes())
        return MachineRecord(**{**values, "public_keys": tuple(values["public_keys"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise HostError(
            "is not a record of a machine", where=str(path), hint=f"destroy it: … destroy {identity}"
        ) from error


def all_ids() -> list[str]:
    """Return the ids of all machines of this host, of every checkout, complete or not."""
    return sorted(path.name for path in STORE.glob("[0-9a-f]" * 8) if path.is_dir())


def all_readable() -> list[MachineRecord]:
    """Return the records of all machines of this host that can be read."""
    found = []
    for identity in all_ids():
        with contextlib.suppress(HostError):
            if machine := load(identity):
                found.append(machine)
    return found


def find(owner: str, stack: str, name: str) -> MachineRecord | None:
    """Return the record of this owner's machine. None: there is none."""
    return next((each for each in all_readable() if (each.owner, each.stack, each.name) == (owner, stack, name)), None)


def remove(identity: str) -> None:
    """Remove the machine's folder, the record last: an interrupted removal can be continued."""
    folder = STORE / identity
    if not folder.is_dir():
        return
    _refuse_mounts(folder)
    for entry in sorted(folder.iterdir(), key=lambda path: path.name == "record.json"):
        if entry.is_dir() and not entry.is_symlink():
            remove_tree(entry)
        else:
            entry.unlink(missing_ok=True)
    folder.rmdir()


def remove_store_if_empty() -> None:
    """Remove the host-wide folder after the last machine. Another process may fill it again at any time."""
    for path in (STORE, STORE.parent):
        try:
            path.rmdir()
        except OSError:
            return


def read_host_note() -> dict[str, str]:
    """Return the note about this host: its settings before the first machine. Raises HostError."""
    path = STORE / ".host.json"
    try:
        return parse_object(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        hint = "remove it; settings of this host are then not restored after the last machine"
        raise HostError("is not a note of llm-deploy", where=str(path), hint=hint) from None


def write_host_note(note: dict[str, str]) -> None:
    """Note something about this host, until its last machine is removed."""
    write_atomically(STORE / ".host.json", json.dumps(note) + "\n", mode=0o600)


def remove_host_note() -> None:
    """Forget the note."""
    (STORE / ".host.json").unlink(missing_ok=True)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the host-wide lock called `name` (a machine's id, or `host`). Waits until it is free."""
    path = STORE / f".{name}.lock"
    while (stream := _locked_file(path)) is None:
        pass  # its last holder removed the file, or the empty store, while we waited
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        stream.close()
        remove_store_if_empty()


def _locked_file(path: Path) -> IO[str] | None:
    """Return the lock file, open and locked. None: another process has removed or replaced it."""
    try:
        STORE.mkdir(mode=0o700, parents=True, exist_ok=True)
        stream = path.open("w")
    except (FileNotFoundError, FileExistsError):  # the store was removed meanwhile
        return None
    fcntl.flock(stream, fcntl.LOCK_EX)
    try:
        if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            return stream
    except FileNotFoundError:
        pass
    stream.close()
    return None


def mount_points() -> list[Path]:
    """Return where something is mounted, as this process sees it."""
    return [Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text().splitlines()]


def _refuse_mounts(folder: Path) -> None:
    """Raise HostError if something is mounted below `folder`: removing the folder would empty the mount."""
    for point in mount_points():
        if point.is_relative_to(folder):
            raise HostError(f"{point} is still mounted", where=str(folder), hint=f"umount {point}")
