"""The resource lists of a bundle, changed so that nothing in them needs a network or is secret.

What a host would fetch is fetched here: models of the hub become folders, downloads become blobs.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.console import step
from core.errors import DeployError
from core.files import only_link
from core.paths import cache_dir
from provisioning.converge.payload import payload_of
from provisioning.converge.replace_resource import replace_resource
from provisioning.converge.resources import Command, Download, File, Packages, Resource, Secret, Tree, Venv
from provisioning.converge.trees import list_tree
from provisioning.offline.downloads import downloaded
from provisioning.offline.parts import Component, Kind, Part
from provisioning.programs import fetch
from provisioning.roles.engine.store import FETCH_MODEL
from provisioning.roles.host.firewall import without_trial
from provisioning.roles.host.nvidia import without_repository
from provisioning.roles.monitoring.grafana import PACKAGE_DIR, PACKAGE_NAME

BLOBS = "blobs"
OLLAMA_ARCHIVES = "/ollama/archives/"
"""Folder on a host for a release of Ollama that was built here. This tree and that of Grafana's package have a program;
all others are a model or an adapter."""
ADAPTERS = "adapters"
"""Folder of adapters on a host; all other trees are a base model."""
PYTHON_PACKAGES = ("python3",)
"""They run the installer and the agent."""
CLOCK_PACKAGES = ("systemd-timesyncd",)
"""The base role's command installs it if no other program keeps the clock."""
STDERR = 2
"""File descriptor of stderr: the fetch prints its progress there."""
LOCK_MARK = "--hash=sha256:"
BUCKETS = ("s3://", "gs://")
UNREADABLE = "may not be read"
"""Part of the fetch's error (programs/fetch/llm_fetch/listed.py) if it has no access."""


@dataclass(frozen=True)
class OfflineList:
    """One host's list."""

    document: dict[str, Any]
    secrets: dict[str, str]
    """The document has only the keys of these texts."""
    blobs: Mapping[str, Path]
    """Files of trees and downloads by SHA-256."""


def local(resources: Sequence[Resource]) -> list[Resource]:
    """Return the resources with each fetch from a model hub replaced by its folder, fetched here.

    The host's apt gets no repository.
    """
    offline = without_trial(without_repository(resources))
    for each in resources:
        if isinstance(each, Command) and FETCH_MODEL in each.argv:
            offline = replace_resource(offline, each.id, _fetched(each))
    return offline


def offline_list(resources: Sequence[Resource], *, with_secrets: bool) -> OfflineList:
    """Return the list as the agent reads it; `with_secrets` keeps secrets in it."""
    payload = payload_of(resources, dry_run=False)
    secrets: dict[str, str] = {}
    document = payload.document if with_secrets else _without_secrets(payload.document, secrets)
    blobs = dict(payload.blobs)
    for resource in resources:
        if isinstance(resource, Download):
            blobs[resource.sha256] = downloaded(resource.url, resource.sha256)
    return OfflineList(document, secrets, blobs)


def package_names(resources: Sequence[Resource]) -> set[str]:
    """Return the Debian packages that a list may install."""
    names = {name for each in resources if isinstance(each, Packages) for name in each.present}
    clock = CLOCK_PACKAGES if any(each.id == "command:time-sync" for each in resources) else ()
    return names | {*PYTHON_PACKAGES, *clock}


def archives(resources: Sequence[Resource]) -> Iterator[Path]:
    """Yield the Debian packages of a list that no apt source has. Their dependencies are in the distribution's."""
    for each in resources:
        if isinstance(each, Download) and each.path.startswith(f"{PACKAGE_DIR}/"):
            folder = cache_dir() / "bundle" / "archives" / each.sha256
            only_link(folder, PACKAGE_NAME, downloaded(each.url, each.sha256))
            yield folder / PACKAGE_NAME
        elif isinstance(each, Tree) and each.path == PACKAGE_DIR:
            yield each.source / PACKAGE_NAME


def locks(resources: Sequence[Resource]) -> Iterator[str]:
    """Yield the locks of Python distributions that a list installs from."""
    for each in resources:
        if isinstance(each, Venv):
            yield each.lock
        elif isinstance(each, File) and isinstance(each.content, str) and LOCK_MARK in each.content:
            yield each.content


def contents(resources: Sequence[Resource], licence: str = "") -> Iterator[Component]:
    """Yield the trees and downloads of a list as components; their files are blobs.

    `licence` is the base model's.
    """
    for each in resources:
        if isinstance(each, Tree):
            files = list_tree(each.source)
            parts = tuple(_blob(file.path, file.sha256, file.size) for file in files)
            digest = hashlib.sha256("".join(part.sha256 for part in parts).encode()).hexdigest()
            kind: Kind = "program" if OLLAMA_ARCHIVES in each.path or each.path == PACKAGE_DIR else "model"
            is_base = kind == "model" and Path(each.path).parent.name != ADAPTERS
            own = licence if is_base else ""
            yield Component(kind=kind, name=each.path, version=digest[:12], parts=parts, licence=own)
        elif isinstance(each, Download):
            path = downloaded(each.url, each.sha256)
            part = _blob(path, each.sha256, path.stat().st_size)
            yield Component(kind="download", name=each.url, version=each.sha256[:12], parts=(part,))


def _blob(path: Path, sha256: str, size: int) -> Part:
    return Part(place=f"{BLOBS}/{sha256}", source=path, sha256=sha256, size=size)


def _fetched(resource: Command) -> Tree:
    """Run the host's fetch program here, and return its folder as a tree."""
    place, pin, target, *conditions = resource.argv[resource.argv.index(FETCH_MODEL) + 1 :]
    words = (place, pin, *conditions)
    folder = cache_dir() / "bundle" / "models" / hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]
    env = {name: value.value if isinstance(value, Secret) else value for name, value in resource.env.items()}
    program = str(Path(fetch.__file__).with_name("fetch_model.py"))
    argv = [sys.executable, program, place, pin, str(folder), *conditions]
    with step(f"fetch {target.rpartition('/')[2]}"):
        done = subprocess.run(
            argv, env={**os.environ, **env}, stdout=STDERR, stderr=subprocess.PIPE, text=True, check=False
        )
    if done.returncode != 0:
        raise _why((done.stderr.strip().splitlines() or ["failed"])[-1], place, resource)
    immutable, user = "--immutable=yes" in conditions, resource.user
    return Tree(path=target, source=folder, owner=user, group=user, immutable=immutable, after=resource.after)


def _why(said: str, place: str, resource: Command) -> DeployError:
    """Return the fetch's error; if only the host's role may read the bucket, with a hint for bundles."""
    if place.startswith(BUCKETS) and not resource.env and UNREADABLE in said:
        return DeployError(said.partition(";")[0], where=resource.id, hint="write credentials: handed to bundle it")
    return DeployError(said, where=resource.id)


def _without_secrets(value: Any, secrets: dict[str, str]) -> Any:
    """Return `value` with each secret replaced by a key of `secrets`."""
    if isinstance(value, dict):
        if set(value) == {"secret"} and isinstance(value["secret"], str):
            key = str(len(secrets))
            secrets[key] = value["secret"]
            return {"secret_key": key}
        return {name: _without_secrets(item, secrets) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(item, secrets) for item in value]
    return value
