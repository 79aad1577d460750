"""What a host gets besides the agent: a list of resources as one JSON document, and the files it may request.

Sends nothing. A host without network gets the same as an archive (provisioning/offline).
"""

import getpass
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from core.errors import ConfigError
from provisioning.converge.resources import Resource, Secret, Text, Tree
from provisioning.converge.trees import list_tree


@dataclass(frozen=True, kw_only=True)
class Payload:
    """A list of resources as the agent reads it, the files it may request, and the secrets in it."""

    document: dict[str, Any] = field(repr=False)
    blobs: Mapping[str, Path] = field(default_factory=dict)
    """Files of trees by SHA-256."""
    secrets: tuple[str, ...] = field(default=(), repr=False)


def payload_of(
    resources: Sequence[Resource],
    *,
    dry_run: bool,
    environment: Mapping[str, Text] | None = None,
    masks: Sequence[Secret] = (),
) -> Payload:
    """Return the agent's input. `environment` is for all programs that it runs; it never shows `masks`.

    Raises ConfigError for two resources with one id, and for an id without a resource.
    """
    _check_ids(resources)
    blobs: dict[str, Path] = {}
    secrets: list[str] = []
    entries = []
    for resource in resources:
        entry: dict[str, Any] = {"id": resource.id, "kind": resource.kind}
        for item in fields(resource):
            entry[item.name] = _plain(getattr(resource, item.name), secrets)
        if resource.kind == "file":
            entry["secret"] = isinstance(entry["content"], dict)
        if isinstance(resource, Tree):
            del entry["source"]
            files = list_tree(resource.source)
            entry["files"] = {file.name: [file.sha256, file.size, file.mode] for file in files}
            blobs.update({file.sha256: file.path for file in files})
        entries.append(entry)
    by = f"{getpass.getuser()}@{socket.gethostname()}"
    document: dict[str, Any] = {"dry_run": dry_run, "by": by, "resources": entries}
    if environment:
        document["environment"] = _plain(environment, secrets)
        document["masks"] = _plain(tuple(masks), secrets)
    return Payload(document=document, blobs=blobs, secrets=tuple(secrets))


def _plain(value: Any, secrets: list[str]) -> Any:
    """Return `value` as JSON; a secret becomes an object that the agent unwraps."""
    if isinstance(value, Secret):
        secrets.append(value.value)
        return {"secret": value.value}
    if isinstance(value, tuple):
        return [_plain(item, secrets) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item, secrets) for name, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    return value


def _check_ids(resources: Sequence[Resource]) -> None:
    known: set[str] = set()
    for resource in resources:
        needs = (*resource.after, *getattr(resource, "restart_on", ()), *getattr(resource, "reload_on", ()))
        if resource.id in known:
            raise ConfigError("is in the list twice", where=resource.id, hint="let one role own it")
        for need in needs:
            if need not in known:
                what = f"names {need!r}, which is not before it in the list"
                raise ConfigError(what, where=resource.id, hint="list it before this one")
        known.add(resource.id)
