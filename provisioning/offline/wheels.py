"""Wheels of a lock (exact versions with hashes), for the Python of any release."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name, parse_wheel_filename

from core.console import step
from core.errors import ConfigError, DeployError
from core.files import sha256_of
from core.paths import cache_dir
from provisioning.offline.parts import Component, Part
from provisioning.offline.releases import Release

PLACE = "wheels"
ENTRY = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^\s;]+)\s*(?:;\s*(?P<marker>.+))?")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Pin:
    """One line of a lock that applies to the host."""

    name: str
    version: str
    hashes: frozenset[str]

    @property
    def text(self) -> str:
        """The line without its marker, which pip would evaluate for this machine's Python."""
        return " ".join((f"{self.name}=={self.version}", *(f"--hash=sha256:{each}" for each in sorted(self.hashes))))


def pins(lock: str, release: Release) -> Iterator[Pin]:
    """Yield the pins of a lock whose markers are true on `release`. Raises ConfigError for any other line."""
    environment = _environment(release)
    for line in lock.replace("\\\n", " ").splitlines():
        wanted = HASH.sub("", line.partition(" #")[0]).strip()
        if not wanted or wanted.startswith("#"):
            continue
        found = ENTRY.fullmatch(wanted)
        if found is None:
            raise ConfigError(f"pins no version: {wanted[:60]}", where="lock", hint="write it with locks/compile.sh")
        if not found["marker"] or Marker(found["marker"]).evaluate(environment):
            yield Pin(canonicalize_name(found["name"]), found["version"], frozenset(HASH.findall(line)))


def _environment(release: Release) -> dict[str, str]:
    """Return a host's values for markers."""
    return {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{release.python}.0",
        "python_version": release.python,
        "sys_platform": "linux",
        "extra": "",
    }


def fetch(wanted: Sequence[Pin], release: Release) -> list[Component]:
    """Return the wheels, downloaded by this machine's pip and its registry, hashes checked.

    Wheels of an earlier bundle are not fetched again. Raises DeployError with pip's message.
    """
    if not wanted:
        return []
    folder = cache_dir() / "bundle" / "wheels" / f"cp{release.python}-glibc2.{release.glibc_minor}"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as lock:
        lock.write("".join(f"{pin.text}\n" for pin in wanted))
        lock.flush()
        platforms = [word for tag in release.platforms for word in ("--platform", tag)]
        with step(f"fetch {len(wanted)} wheels for Python {release.python}"):
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"),
                    *("--only-binary", ":all:", "--python-version", release.python, *platforms),
                    *("--disable-pip-version-check", "--dest", str(folder), "--requirement", lock.name),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        what = errors[-1].removeprefix("ERROR: ") if errors else f"pip download ended with {done.returncode}"
        raise DeployError(what, where=f"wheels for Python {release.python}", detail=done.stderr[-2000:])
    there = {parse_wheel_filename(path.name)[:2]: path for path in folder.glob("*.whl")}
    return [_component(pin, {f"{name}=={version}": path for (name, version), path in there.items()}) for pin in wanted]


def _component(pin: Pin, there: Mapping[str, Path]) -> Component:
    path = there[f"{pin.name}=={pin.version}"]
    sha256 = sha256_of(path)
    if sha256 not in pin.hashes:
        raise DeployError("is not the wheel that the lock names", where=str(path), hint="remove it and try again")
    part = Part(place=f"{PLACE}/{path.name}", source=path, sha256=sha256, size=path.stat().st_size)
    purl = f"pkg:pypi/{pin.name}@{pin.version}"
    return Component(kind="wheel", name=pin.name, version=pin.version, parts=(part,), purl=purl)
