"""A folder of the controller's machine with all its files, each checked by SHA-256."""

from __future__ import annotations

import hashlib
import json
import os

from ..events import Failure
from ..paths import STAGED, free_mib, group_id, in_the_way, look_at, os_failure, remove, user_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, Sequence

    from ..host import Host
    from ..paths import Change

    Fact = dict[str, Any]

FOLDER_MODE = 0o755


def look(resources: Sequence[Any], host: Host) -> Callable[[], list[Fact]]:
    """Hash the existing files; a file of the wrong size is not read."""
    return lambda: [_look_one(resource, host) for resource in resources]


def _look_one(resource: Any, host: Host) -> Fact:
    files: dict[str, Any] = {}
    folders: dict[str, Any] = {}
    partial: dict[str, int] = {}
    resumable = {_partial_name(name, entry[0]): name for name, entry in resource.files.items()}
    for folder, names, leaves in os.walk(resource.path):
        for name in names + leaves:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, resource.path)
            seen = look_at(path)
            if seen["type"] == "directory":
                folders[relative] = [seen["owner"], seen["group"], seen["mode"]]
            elif relative in resumable:
                partial[resumable[relative]] = seen["size"]
            else:
                wanted = resource.files.get(relative)
                same_size = wanted and seen["type"] == "file" and wanted[1] == seen["size"]
                sha256 = host.state.sha256(path) if same_size else ""
                files[relative] = [sha256, seen["owner"], seen["group"], seen["mode"]]
    top = look_at(resource.path)
    metadata = [top["owner"], top["group"], top["mode"]] if top["type"] == "directory" else None
    return {
        "type": top["type"],
        "top": metadata,
        "files": files,
        "folders": folders,
        "partial": partial,
        "others_brought": resource.immutable
        and host.state.brought(resource.path) not in ("", _digest(resource))
        and not _is_there_beside_hidden(resource, files),
    }


def _is_there_beside_hidden(resource: Any, files: dict[str, Any]) -> bool:
    """Return whether the desired files exist, and no others except hidden ones, which older releases copied too."""
    visible = {name: seen[0] for name, seen in files.items() if not any(p.startswith(".") for p in name.split("/"))}
    return visible == {name: sha256 for name, (sha256, _size, _mode) in resource.files.items()}


def _digest(resource: Any) -> str:
    """Return a digest of the content of all files, without their modes."""
    content = {name: sha256 for name, (sha256, _size, _mode) in resource.files.items()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def plan(resource: Any, fact: Fact) -> list[Change]:
    """Return what to remove, create, fetch and chmod, as (verb, relative path)."""
    if fact["type"] not in ("absent", "directory"):
        return [in_the_way(fact)]
    if fact["others_brought"] and fact["type"] == "directory":
        return [("refuse", "holds other files, and an immutable tree does not change; raise the version")]
    owner = [resource.owner, resource.group]
    wanted = {parent for name in resource.files for parent in _parents(name)}
    changes = [("folder", ".")] if fact["top"] != [*owner, FOLDER_MODE] else []
    changes += [("remove", name) for name in sorted(fact["files"]) if name not in resource.files]
    changes += [("remove", name) for name in sorted(fact["folders"], reverse=True) if name not in wanted]
    changes += [("folder", name) for name in sorted(wanted) if fact["folders"].get(name) != [*owner, FOLDER_MODE]]
    for name, (sha256, _size, mode) in sorted(resource.files.items()):
        seen = fact["files"].get(name, [""])
        if seen[0] != sha256:
            changes.append(("fetch", name))
        elif seen[1:] != [*owner, mode]:
            changes.append(("metadata", name))
    return changes


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: index + 1]) for index in range(len(parts))]


def _partial_name(name: str, sha256: str) -> str:
    """Return the path of a file while it is received. The hash is in it, so that only the same content continues."""
    folder, leaf = os.path.split(name)
    return os.path.join(folder, f".{leaf}.{sha256[:12]}{STAGED}")


def apply(resource: Any, fact: Fact, changes: Sequence[Change], host: Host) -> None:
    """Remove, create folders, fetch. A file gets its name only if its hash is right."""
    uid, gid = user_id(resource.owner), group_id(resource.group)
    for verb, name in changes:
        path = os.path.normpath(os.path.join(resource.path, name))
        if verb == "remove":
            remove(path)
        elif verb == "folder":
            if look_at(path)["type"] != "directory":
                os.makedirs(path, FOLDER_MODE)
            _own(path, uid, gid, FOLDER_MODE)
        elif verb == "metadata":
            _own(path, uid, gid, resource.files[name][2])
    names = [name for verb, name in changes if verb == "fetch"]
    _Arrival(resource, fact["partial"], names, (uid, gid), host).receive()
    if resource.immutable:
        host.state.note_brought(resource.path, _digest(resource))


def _own(path: str, uid: int, gid: int, mode: int) -> None:
    os.chown(path, uid, gid)
    os.chmod(path, mode)


class _Arrival:
    """The files of one tree while they arrive, one after the other."""

    def __init__(
        self, resource: Any, partial: dict[str, int], names: list[str], ids: tuple[int, int], host: Host
    ) -> None:
        self._resource = resource
        self._names = names
        self._ids = ids
        self._host = host
        self._offsets = [min(partial.get(name, 0), resource.files[name][1]) for name in names]
        self._total = sum(resource.files[name][1] for name in names)
        self._done = sum(self._offsets)
        self._open: BinaryIO | None = None
        self._digest = hashlib.sha256()

    def receive(self) -> None:
        missing = self._total - self._done
        if missing >> 20 >= free_mib(self._resource.path):
            raise Failure(
                f"needs {missing >> 20} MiB at {self._resource.path}, which has {free_mib(self._resource.path)} free"
            )
        entries = [self._resource.files[name] for name in self._names]
        wanted = [(entry[0], offset, entry[1]) for entry, offset in zip(entries, self._offsets)]
        try:
            self._host.blobs.copy(wanted, self._take)
        except OSError as error:
            raise os_failure(error, self._resource.path) from error
        finally:
            if self._open is not None:
                self._open.close()

    def _take(self, index: int, block: bytes) -> None:
        name = self._names[index]
        sha256, _size, mode = self._resource.files[name]
        staged = os.path.join(self._resource.path, _partial_name(name, sha256))
        if self._open is None:
            self._open = self._begin(staged, self._offsets[index])
        if block:
            self._open.write(block)
            self._digest.update(block)
            self._done += len(block)
            text = f"{self._done >> 20} of {self._total >> 20} MiB"
            self._host.events.progress(self._resource.id, text, self._done / max(1, self._total))
            return
        self._open.flush()
        os.fsync(self._open.fileno())
        self._open.close()
        self._open = None
        if self._digest.hexdigest() != sha256:
            os.unlink(staged)
            raise Failure(f"{name} arrived with SHA-256 {self._digest.hexdigest()}, which is not the one in the list")
        _own(staged, *self._ids, mode)
        os.replace(staged, os.path.join(self._resource.path, name))

    def _begin(self, staged: str, offset: int) -> BinaryIO:
        """Open the staged file at `offset` and hash its present content."""
        self._digest = hashlib.sha256()
        stream = open(os.open(staged, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b")  # noqa: SIM115 (closed by `_take` or `receive`)
        stream.truncate(offset)
        for block in iter(lambda: stream.read(1 << 20), b""):
            self._digest.update(block)
        return stream
