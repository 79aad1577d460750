"""The kinds of resources that a role can return. Values only: nothing here looks at a host or changes one.

A resource's `id` is its kind and its key, e.g. `file:/etc/haproxy/haproxy.cfg`. The agent handles resources in the
order of the list; `after` names ids whose failure stops this one too. Text that must never be shown is a `Secret`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True, repr=False)
class Secret:
    """Text that never appears in events, diffs, argument lists or logs; also masked inside command output."""

    value: str

    def __repr__(self) -> str:
        return "Secret(…)"


Text = str | Secret


@dataclass(frozen=True, kw_only=True)
class Resource:
    """The base of all kinds."""

    kind: ClassVar[str]
    key_field: ClassVar[str] = "path"
    """The field that distinguishes this resource from others of its kind."""
    after: tuple[str, ...] = ()
    """Ids of resources that must have succeeded before this one is tried."""

    @property
    def id(self) -> str:
        """Kind and key."""
        return f"{self.kind}:{getattr(self, self.key_field)}"


@dataclass(frozen=True, kw_only=True)
class Packages(Resource):
    """Debian packages that are installed, in one apt transaction; `absent` ones are purged."""

    kind: ClassVar[str] = "packages"
    key_field: ClassVar[str] = "name"
    name: str
    """Label of the set, e.g. `base`."""
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class User(Resource):
    """A system user with a group of the same name and no login shell."""

    kind: ClassVar[str] = "user"
    key_field: ClassVar[str] = "name"
    name: str
    home: str = "/nonexistent"
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Directory(Resource):
    """A directory with owner, group and mode; its contents are not touched."""

    kind: ClassVar[str] = "directory"
    path: str
    owner: str = "root"
    group: str = "root"
    mode: int = 0o755


@dataclass(frozen=True, kw_only=True)
class File(Resource):
    """A file with exactly this content, replaced in one step; on any failure the old file stays.

    Missing parent folders are created with owner root and mode 0755, here and for links and downloads.

    `check` is a command run on the new content before it replaces the old; `{path}` stands for its path,
    e.g. `("haproxy", "-c", "-f", "{path}")`. `content=None` removes the file.
    """

    kind: ClassVar[str] = "file"
    path: str
    content: Text | None
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    check: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SshdFile(Resource):
    """A file of sshd settings, loaded by a reload and kept only if a second login works; else the old one is restored.

    `check` is as for `File`. Also enables sshd, or the socket that starts it, for the next boot.
    """

    kind: ClassVar[str] = "sshd_file"
    path: str
    content: str
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    check: tuple[str, ...] = ()
    secret: bool = False


@dataclass(frozen=True, kw_only=True)
class GeneratedSecret(Resource):
    """A file with a random secret made on the host, once: it never leaves the host and is never replaced.

    `template` holds `{secret}`, which becomes 43 characters of URL-safe base64 (32 random bytes).
    """

    kind: ClassVar[str] = "generated_secret"
    path: str
    template: str = "{secret}\n"
    owner: str = "root"
    group: str = "root"
    mode: int = 0o600


@dataclass(frozen=True, kw_only=True)
class Link(Resource):
    """A symbolic link, moved in one step."""

    kind: ClassVar[str] = "link"
    path: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Unit(Resource):
    """A systemd unit's state: enabled or not, running or not. Its file is a `File`.

    A change of a resource in `restart_on` restarts the unit. If a run was interrupted before the restart, the next run
    does it, because the unit's start is older than the change. A change of one in `reload_on` reloads the unit.

    `ready` is a command that is repeated until it exits 0, for at most `ready_timeout_s`. A failure carries the unit's
    journal since the start. `undo` is a command that runs if the unit does not start, e.g. to return to the previous
    release; its output ends the failure's line.

    A unit that died twice has failed. If its journal matches the regular expression `passing`, the cause may pass by
    itself, and systemd's start limit decides instead. The regular expression `left_out` has a group: the name of an
    item that ended the unit and that its next starts leave out. The first death by each name does not count, and the
    wait begins again.
    """

    kind: ClassVar[str] = "unit"
    key_field: ClassVar[str] = "name"
    name: str
    enabled: bool = True
    running: bool | None = True
    """None means: neither start nor stop it. For units that a timer or a socket starts."""
    restart_on: tuple[str, ...] = ()
    reload_on: tuple[str, ...] = ()
    ready: tuple[str, ...] = ()
    ready_timeout_s: int = 60
    undo: tuple[str, ...] = ()
    passing: str = ""
    left_out: str = ""


@dataclass(frozen=True, kw_only=True)
class Download(Resource):
    """A file from a URL with a known SHA-256; an interrupted download continues where it stopped."""

    kind: ClassVar[str] = "download"
    path: str
    url: str
    sha256: str
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644


@dataclass(frozen=True, kw_only=True)
class Tree(Resource):
    """A folder of the controller's machine without its hidden files, each file checked by SHA-256 on the host.

    Only files that differ are sent; files that the source lacks are removed. The controller reads `source`.

    An `immutable` tree is repaired, but once it is complete, other content is refused until the folder is removed.
    """

    kind: ClassVar[str] = "tree"
    path: str
    source: Path
    immutable: bool = False
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, kw_only=True)
class Venv(Resource):
    """A Python environment made by uv from a lock of exact versions with hashes.

    It is built in its own folder beside `path`. Once the build is complete, `path` becomes a link to that folder, so
    that an interrupted build is never used. A marker in the folder holds the SHA-256 of `lock`, `python` and `remove`,
    which decides whether the environment is current. After a successful run the previous environment is removed, unless
    another resource does that (`keep_former`). An environment that still exists is only linked again.
    """

    kind: ClassVar[str] = "venv"
    path: str
    lock: str
    """Content of a requirements file with hashes."""
    uv: str
    """Path of the uv program on the host."""
    python: str = "python3"
    remove: tuple[str, ...] = ()
    """Distributions taken out after the install."""
    version: str = ""
    """Part of the folder's name, for people."""
    keep_former: bool = False
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, kw_only=True)
class Swap(Resource):
    """A swap file, in use now and after a reboot."""

    kind: ClassVar[str] = "swap"
    path: str
    size_mib: int


@dataclass(frozen=True, kw_only=True)
class Sysctl(Resource):
    """A kernel setting, now and after a reboot (one file in /etc/sysctl.d per setting)."""

    kind: ClassVar[str] = "sysctl"
    key_field: ClassVar[str] = "name"
    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Command(Resource):
    """A command for what no other kind covers. It does not run if `check` exits 0 or `creates` exists.

    No shell reads `argv` or `check`. `env` may hold secrets; argument lists may not.

    A plan shows lines of the check that begin with `planned: ` as what would be done; without such lines it shows
    `argv`. A line with `planned: fail: ` and a reason fails the resource, in a plan too, and `argv` is not run.
    """

    kind: ClassVar[str] = "command"
    key_field: ClassVar[str] = "name"
    name: str
    argv: tuple[str, ...]
    check: tuple[str, ...] = ()
    creates: str = ""
    user: str = "root"
    env: Mapping[str, Text] = field(default_factory=dict)
    timeout_s: int = 600
    confirmed_by: tuple[str, ...] = ()
    """Program of provisioning/programs with its arguments. The controller runs it over a new connection as soon as
    `argv` prints a line, and `argv` waits for it."""
    reboot_status: int = 0
    """Exit status of `argv` that means that it is done and needs a reboot; its last line says why. Resources that
    depend on it are skipped until then. 0 if there is no such status."""
