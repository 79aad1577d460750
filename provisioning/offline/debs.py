"""Debian packages with all dependencies for any release, downloaded by this machine's apt, as root or not.

Resolves as if nothing were installed, so that the host may be minimal. Apt checks signatures and hashes.
"""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.console import step
from core.errors import DeployError, UsageError
from core.files import sha256_of, write_atomically
from core.paths import cache_dir
from provisioning.offline.parts import Component, Part
from provisioning.offline.releases import ARCH, Release

PLACE = "debs"
CHOSEN = re.compile(r"^Inst (?P<name>\S+) (?:\[\S+\] )?\((?P<version>\S+) .*\[(?P<arch>\w+)\]", re.MULTILINE)
"""A line of `apt-get --simulate install`."""

LOCAL = " local-deb "
"""In such a line: the package is a file that apt was given, not one of a source."""


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """A repository in addition to the distribution's."""

    uri: str
    key: str
    """ASCII-armoured; trusted for this repository only."""
    preferences: str
    """Which versions apt prefers."""


class Apt:
    """Apt with its own sources, keys, lists and downloads below the cache folder."""

    def __init__(self, release: Release, vendor: Vendor | None) -> None:
        self._release = release
        self._root = cache_dir() / "bundle" / "apt" / release.name
        for folder in ("lists/partial", "archives/partial"):
            (self._root / folder).mkdir(parents=True, exist_ok=True)
        write_atomically(self._root / "sources.list", "".join(f"{line}\n" for line in self._sources(vendor)))
        write_atomically(self._root / "preferences", vendor.preferences if vendor else "")
        (self._root / "status").touch()

    def _sources(self, vendor: Vendor | None) -> Iterator[str]:
        yield from self._release.sources()
        if vendor:
            key = self._root / "vendor.asc"
            write_atomically(key, vendor.key)
            yield f"deb [signed-by={key}] {vendor.uri} /"

    def fetch(self, names: Sequence[str]) -> list[Path]:
        """Return the package files of `names` and their dependencies. A name that is a path has only the latter."""
        self._run("update")
        self._run("install", "--download-only", *names)
        chosen = CHOSEN.finditer(self._run("install", "--simulate", *names))
        found = [each for each in chosen if LOCAL not in each[0]]
        return sorted(self._root / "archives" / file_name(**each.groupdict()) for each in found)

    def _run(self, *words: str) -> str:
        settings = {
            "Dir::Etc::sourcelist": self._root / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferences": self._root / "preferences",
            "Dir::Etc::preferencesparts": "/dev/null",  # this machine's preferences do not apply to a host
            "Dir::State::status": self._root / "status",
            "Dir::State::lists": self._root / "lists",
            "Dir::Cache": self._root,
            "Dir::Cache::archives": self._root / "archives",
            "APT::Architecture": ARCH,
            "APT::Architectures::": ARCH,
            "APT::Sandbox::User": "root",  # apt's own user cannot read the cache in the user's home
            "Debug::NoLocking": "true",
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        done = subprocess.run(
            ("apt-get", "-q", "-y", "--no-install-recommends", *options, *words),
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            errors = [line for line in done.stderr.splitlines() if line.startswith("E:")]
            what = errors[0].removeprefix("E: ") if errors else f"apt-get {words[0]} ended with {done.returncode}"
            raise DeployError(what, where=f"packages for {self._release.name}", detail=done.stderr[-2000:])
        return done.stdout


def file_name(name: str, version: str, arch: str) -> str:
    """Return apt's file name of a downloaded package."""
    return f"{name.partition(':')[0]}_{version.replace(':', '%3a')}_{arch}.deb"


def packages(names: Sequence[str], release: Release, vendor: Vendor | None = None) -> list[Component]:
    """Return the packages `names` and their dependencies, downloaded from the distribution and from `vendor`.

    A name may be the path of an archive, which must end in .deb: then its dependencies are returned.

    Raises UsageError on a machine without apt, DeployError with apt's message if one cannot be downloaded.
    """
    try:
        with step(f"fetch {len(names)} Debian packages for {release.name}, and their dependencies"):
            files = Apt(release, vendor).fetch(names)
    except FileNotFoundError as error:
        hint = "run this on Debian or Ubuntu, for example in a container"
        raise UsageError(f"this computer has no {error.filename}", where="bundle", hint=hint) from None
    return [_component(path, release) for path in files]


def index(components: Iterable[Component]) -> str:
    """Return the file `Packages`, with which a folder of packages is an apt source."""
    return "\n".join(_stanza(component.parts[0]) for component in components)


def _component(path: Path, release: Release) -> Component:
    control = _control(path)
    name, version, arch = (control[key] for key in ("Package", "Version", "Architecture"))
    sha256 = sha256_of(path)
    # The name has no colon or tilde of a version: some file systems do not allow them.
    place = f"{PLACE}/{re.sub(r'[^A-Za-z0-9._+-]', '-', path.stem)}.deb"
    return Component(
        kind="debian",
        name=name,
        version=version,
        parts=(Part(place=place, source=path, sha256=sha256, size=path.stat().st_size),),
        purl=f"pkg:deb/{release.distribution}/{name}@{version}?arch={arch}&distro={release.name}",
    )


def _stanza(part: Part) -> str:
    fields = dict(_control(part.source))
    fields |= {"Filename": f"./{Path(part.place).name}", "Size": str(part.size), "SHA256": part.sha256}
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def _control(path: Path) -> Mapping[str, str]:
    """Return the fields of a package's control file; continuation lines stay as they are."""
    text = subprocess.run(("dpkg-deb", "--field", str(path)), capture_output=True, text=True, check=True).stdout
    return dict(_fields(text))


def _fields(text: str) -> Iterator[tuple[str, str]]:
    for field in re.split(r"\n(?=\S)", text.strip("\n")):
        name, _, value = field.partition(":")
        yield name, value.strip(" ")
