"""`fab bundle`: one archive with everything that hosts without network need, and a bill of materials."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.console import next_command, say, step
from core.errors import ConfigError, UsageError
from core.files import sha256_of, write_atomically
from core.paths import CHECKOUT
from core.reading.regular_files import open_regular
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.apply.desired_state import desired_state
from provisioning.converge.agent_zip import agent_zip
from provisioning.converge.resources import Resource
from provisioning.hosts.inventory import choose, load
from provisioning.hosts.target import Target
from provisioning.offline import debs, driver, wheels
from provisioning.offline.lists import BLOBS, OfflineList, archives, contents, local, locks, offline_list, package_names
from provisioning.offline.parts import Component, Part
from provisioning.offline.releases import Release, find_release
from provisioning.offline.sbom import sbom
from provisioning.roles.host.nvidia import installs_driver
from provisioning.roles.host.nvidia_driver import NVIDIA, Setup
from serving.endpoint import write_endpoint

INSTALLER_DIR = Path(__file__).parent / "installer"
MANIFEST = "MANIFEST.json"
SBOM = "sbom.cdx.json"
FORMAT = 1
MIB = 1 << 20

Lists = Mapping[str, Sequence[Resource]]
"""Resources by the host's name."""


@dataclass(frozen=True)
class Made:
    """A bundle that was written."""

    archive: Path
    archive_sha256: str
    secrets: Mapping[str, Path]
    """Files beside the archive, by the host's name. Empty: the archive holds the secrets, or there are none."""
    manifest_sha256: str
    components: int
    hosts: int


def make_bundle(
    target: Target,
    *,
    names: Sequence[str],
    roles: Sequence[str],
    out: str,
    os_release: str,
    kernels: Sequence[str],
    with_secrets: bool,
) -> int:
    """Write the archive for the hosts of `target`; return 0."""
    outputs = load(target)
    hosts = choose(outputs, names)
    release = find_release(os_release or _release_of(hosts))
    release.sources()  # fails before models are fetched if the distribution's key is missing
    resources = desired_state(outputs, hosts, roles)
    driver.headers(resources.lists, kernels)  # the same for a kernel that was not given
    lists = {name: local(each) for name, each in resources.lists.items()}
    path = Path(out) if out else CHECKOUT / "bundles" / f"{outputs.stack}.tar"
    made = write_bundle(lists, outputs, release, path, kernels=kernels, with_secrets=with_secrets)
    say(
        f"✓ bundle {outputs.stack}: {made.components} components,"
        f" {made.archive.stat().st_size / MIB:.0f} MiB in {made.archive}"
    )
    say(f"archive SHA-256: {made.archive_sha256}")
    say(f"manifest SHA-256: {made.manifest_sha256}")
    for host, file in made.secrets.items():
        say(f"secrets of {host}, to be transferred separately: {file}")
    if resources.endpoint is not None:  # the host is installed elsewhere, and a client needs URL, CA and key
        say(f"endpoint, once it is installed: {write_endpoint(resources.endpoint)}")
    which = " --host NAME" if made.hosts > 1 else ""
    handed = " --secrets FILE" if made.secrets else ""
    # The person checks the archive before any of its programs runs: an attacker could also change the installer that
    # checks.
    look = f'echo "{made.archive_sha256}  {path.name}" | sha256sum --check -'
    install = f"{path.stem}/install.sh --manifest {made.manifest_sha256}{which}{handed}"
    next_command(f"on the host: {look} && tar -xf {path.name} && {install}")
    return 0


def write_bundle(
    lists: Lists,
    outputs: StackOutputs,
    release: Release,
    path: Path,
    *,
    kernels: Sequence[str] = (),
    with_secrets: bool,
    setup: Setup = NVIDIA,
) -> Made:
    """Write archive and secrets for `lists`. Raises DeployError, without an archive, for what cannot be fetched."""
    every = [resource for resources in lists.values() for resource in resources]
    offline = {name: offline_list(resources, with_secrets=with_secrets) for name, resources in lists.items()}
    packages = _packages(lists, driver.headers(lists, kernels), release, setup)
    found = {pin.text: pin for lock in locks(every) for pin in wheels.pins(lock, release)}
    licences = {host.name: outputs.serving_of(host).model.licence_name for host in outputs.hosts}
    brought = _once(part for name, resources in lists.items() for part in contents(resources, licences[name]))
    components = [*packages, *wheels.fetch(list(found.values()), release), *brought]
    texts = _texts(outputs.stack, offline, packages, components)
    parts = _parts(components, offline)
    manifest = _manifest(outputs.stack, release, list(lists), parts, texts)
    with step(f"write {path}"):
        archive_sha256 = _write(path, {**texts, MANIFEST: manifest}, parts)
    secrets = _write_secrets(path, offline)
    return Made(path, archive_sha256, secrets, hashlib.sha256(manifest).hexdigest(), len(components), len(lists))


def _write_secrets(path: Path, offline: Mapping[str, OfflineList]) -> dict[str, Path]:
    """Write the secrets of each host to a file beside the archive `path`: no host gets those of another."""
    files = {}
    for name, each in offline.items():
        if each.secrets:
            files[name] = path.with_suffix(f".{name}.secrets.json" if len(offline) > 1 else ".secrets.json")
            write_atomically(files[name], json.dumps({name: each.secrets}), mode=0o600)
    return files


def _release_of(hosts: Sequence[HostRecord]) -> str:
    """Return the release that all hosts run. Raises ConfigError if the inventory names none, UsageError if several."""
    found = {host.os_release for host in hosts}
    if len(found) > 1:
        raise UsageError(
            "the hosts run different releases", where="bundle", hint="name only hosts of one release with --host"
        )
    (release,) = found
    if release is None:
        hint = "write debian-12, ubuntu-22.04 or ubuntu-24.04 there, or --os-release"
        raise ConfigError("is missing", where=f"{hosts[0].name}.os_release", hint=hint)
    return release


def _packages(lists: Lists, headers: Sequence[str], release: Release, setup: Setup) -> list[Component]:
    """Return the Debian packages, with NVIDIA's if a host may need its driver."""
    every = [resource for resources in lists.values() for resource in resources]
    names = {*package_names(every), *map(str, archives(every))}
    if not any(map(installs_driver, lists.values())):
        return debs.packages(sorted(names), release)
    wanted = sorted({*names, *headers, *driver.packages(setup, release, lists)})
    return debs.packages(wanted, release, driver.vendor(setup, release))


def _once(components: Iterable[Component]) -> list[Component]:
    """Return the components, each once even if several hosts share it."""
    return list({(each.name, each.version): each for each in components}.values())


def _texts(
    stack: str, offline: Mapping[str, OfflineList], packages: Sequence[Component], components: Sequence[Component]
) -> dict[str, bytes]:
    """Return the archive's generated files, by path."""
    own = {path.name: path.read_bytes() for path in sorted(INSTALLER_DIR.glob("install.*"))}
    lists = {f"lists/{name}.json": json.dumps(each.document).encode() for name, each in offline.items()}
    agent = agent_zip()
    digest = hashlib.sha256(agent).hexdigest()
    part = Part(place="agent.pyz", source=INSTALLER_DIR, sha256=digest, size=len(agent))
    program = Component(kind="program", name="llm-deploy agent", version=digest[:12], parts=(part,))
    return {
        **own,
        **lists,
        part.place: agent,
        f"{debs.PLACE}/Packages": debs.index(packages).encode(),
        SBOM: sbom(stack, [program, *components]).encode(),
    }


def _parts(components: Sequence[Component], offline: Mapping[str, OfflineList]) -> list[Part]:
    """Return the archive's copied files, each path once. Blobs with the same hash are one file."""
    parts = {part.place: part for component in components for part in component.parts}
    known = {f"{BLOBS}/{sha256}" for each in offline.values() for sha256 in each.blobs}
    assert known <= parts.keys(), "a blob of a list is in no component"  # noqa: S101
    return [parts[place] for place in sorted(parts)]


def _manifest(
    stack: str, release: Release, hosts: list[str], parts: Sequence[Part], texts: Mapping[str, bytes]
) -> bytes:
    """Return the file that lists every other file with hash and size."""
    files = {part.place: [part.sha256, part.size] for part in parts}
    files |= {place: [hashlib.sha256(text).hexdigest(), len(text)] for place, text in texts.items()}
    content = {"format": FORMAT, "stack": stack, "os_release": release.name, "arch": "x86_64", "hosts": hosts}
    return (json.dumps({**content, "files": dict(sorted(files.items()))}, indent=1) + "\n").encode()


def _write(path: Path, texts: Mapping[str, bytes], parts: Sequence[Part]) -> str:
    """Write the archive under a temporary name and rename it when it is complete; return its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.part")
    staged.unlink(missing_ok=True)
    # Mode 0600 from the first byte on: it may hold keys, and writing takes minutes.
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with (
            os.fdopen(handle, "wb") as stream,
            tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for place, text in texts.items():
                entry = _entry(f"{path.stem}/{place}", len(text))
                entry.mode = 0o755 if place.endswith(".sh") else 0o600 if place.startswith("lists/") else 0o644
                archive.addfile(entry, io.BytesIO(text))
            for part in parts:
                with open_regular(part.source) as content:
                    archive.addfile(_entry(f"{path.stem}/{part.place}", part.size), content)
        sha256 = sha256_of(staged)
        staged.replace(path)
        return sha256
    finally:
        staged.unlink(missing_ok=True)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.mode = 0o644
    return entry
