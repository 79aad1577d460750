"""Prints manifest entries: for files in a folder, or for the adapters of a stack file.

Reads the adapters' files where they are. Writes no file and connects to no host.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.console import next_command, say, show
from core.errors import ConfigError, UsageError
from core.files import sha256_of
from core.paths import CHECKOUT
from provisioning.access.cloud_login import with_login
from provisioning.adapters.checks import Look, look
from provisioning.hosts.inventory import adapter_manifest, load_outputs
from provisioning.hosts.target import Target
from serving.adapters.checks import WEIGHTS, read_adapter_config, read_heads
from serving.adapters.manifest import ListedAdapter, base_name, read_releases, shown
from serving.formats.lora_tensors import changed_leaves
from serving.sources.resolve import LocalFolder, resolve
from serving.spec.fields import AdapterSpec, FolderSource, Source
from serving.spec.models import ServingSpec

FOLDER_NAME = re.compile(r"(?P<name>.*?)(?:[-_.@]?v?(?P<version>\d+))?")
"""`contract-4`, `contract_v4`, `contract@4`, `contract`."""


@dataclass(frozen=True)
class _Stack:
    """The facts about the stack that this checkout has."""

    name: str
    servings: Sequence[ServingSpec]
    """What each pool serves; empty if `up` has not made the stack yet."""
    manifest: Path
    listed: Sequence[ListedAdapter]


def entry(target: Target, folder: str) -> int:
    """Print the entry for the files in `folder`; return the exit status. Raises ConfigError for other files."""
    stack = _stack(target)
    _print(stack, [_found(stack, folder)], head=not stack.listed)
    say(f"{'add it to' if stack.listed else 'write it into'} {shown(stack.manifest)}")
    next_command(target.command("adapters", "DO=plan"))
    return 0


def manifest(target: Target) -> int:
    """Print a manifest with the adapters of the stack file; return the exit status.

    Raises UsageError if it lists none, ConfigError for files that are not an adapter.
    """
    stack = _stack(target)
    adapters = {each.versioned_name: each for serving in stack.servings for each in serving.adapters}
    if not adapters:
        hint = f"for files in a folder: {target.command('adapters', 'DO=entry', 'ARGS=FOLDER')}"
        raise UsageError("serving.adapters is empty, or `up` was not run yet", where=stack.name, hint=hint)
    _print(stack, list(adapters.values()), head=True)
    own = "make up, " if target.stack else ""
    say(f"write it into {shown(stack.manifest)}, take `adapters` out of the stack's own `serving`, then: {own}DO=plan")
    next_command(target.command("up") if target.stack else target.command("adapters", "DO=plan"))
    return 0


def _print(stack: _Stack, adapters: Sequence[AdapterSpec], *, head: bool) -> None:
    """Print all entries, or none if one fails."""
    lines = [line for adapter in adapters for line in _lines(stack, adapter)]
    show("\n".join([*(["adapters:"] if head else []), *lines]))


def _stack(target: Target) -> _Stack:
    """Return these facts. A stack that `up` has not made yet may already have a manifest."""
    try:
        outputs = load_outputs(target)
    except UsageError:
        if target.inventory:
            raise
        outputs = None
    name = outputs.stack if outputs else target.stack
    manifest = adapter_manifest(target, name)
    releases = read_releases(manifest)
    listed = releases.manifest.adapters if releases else ()
    return _Stack(name, outputs.servings if outputs else (), manifest, listed)


def _found(stack: _Stack, folder: str) -> AdapterSpec:
    """Return the adapter in a folder of this machine, with the folder's name."""
    path = Path(folder).expanduser().resolve()
    parts = FOLDER_NAME.fullmatch(path.name)
    name = re.sub(r"[^a-z0-9._-]", "-", (parts["name"] if parts else "").lower()).strip("-._") or "adapter"
    taken = [each.version for each in stack.listed if each.name == name]
    version = int((parts and parts["version"]) or 0) or max(taken, default=0) + 1
    if version in taken:
        say(f"{name}@{version} is listed already: the entry has the next free version")
        version = max(taken) + 1
    inside = path.relative_to(CHECKOUT) if path.is_relative_to(CHECKOUT) else path
    return AdapterSpec(name=name, version=version, source=FolderSource(kind="folder", path=inside))


def _lines(stack: _Stack, adapter: AdapterSpec) -> Iterable[str]:
    """Yield the entry of one adapter as YAML."""
    seen = _look(adapter.source, where=adapter.versioned_name)
    modules = seen.config.target_modules or set(changed_leaves(seen.heads))
    sha256 = seen.sha256 or adapter.sha256
    yield f"  - name: {adapter.name}"
    yield f"    version: {adapter.version}"
    yield f"    source: {_flow(adapter.source)}"
    yield f"    sha256: {sha256}" if sha256 else f"    sha256:   # of {WEIGHTS}: its source has no checksum"
    yield _base(stack, adapter, seen)
    yield f"    rank: {seen.config.rank}"
    yield f"    target_modules: [{', '.join(sorted(modules))}]"


def _base(stack: _Stack, adapter: AdapterSpec, seen: Look) -> str:
    """Return the line about the base model: that of the pool which lists the adapter, or whose model it names."""
    own = [each for each in stack.servings if adapter in each.adapters]
    models = [each.model for each in own or stack.servings]
    trained_on = [model for model in models if base_name(model).partition("@")[0] == seen.config.base_model]
    found = list(dict.fromkeys(map(base_name, trained_on or models)))
    if len(found) > 1:
        return f"    base:   # {' or '.join(found)}: the pool that serves it"
    return f"    base: {found[0]}" if found else _unknown_base(seen)


def _unknown_base(seen: Look) -> str:
    trained_on = seen.config.base_model or "an unnamed model"
    return f"    base:   # OWNER/NAME@COMMIT, or the model's name in the stack's file; it was trained on {trained_on}"


def _look(source: Source, *, where: str) -> Look:
    """Read the adapter's files. Raises ConfigError for other files, or if only a host can read them."""
    files = with_login(resolve(source, key=f"{where}.source"), key=f"{where}.source")
    if isinstance(files, LocalFolder):
        config, weights = read_adapter_config(files.path, where=where), files.path / WEIGHTS
        if not weights.is_file():
            hint = "save it with safe_serialization=True"
            raise ConfigError(f"{files.path} has no {WEIGHTS}", where=where, hint=hint)
        return Look(str(files.path), config, read_heads(weights), sha256_of(weights))
    seen = look(files, key=f"{where}.source")
    if seen is None:
        hint = "write its entry by hand, see docs/adapters.md"
        raise ConfigError("can be read by the stack's hosts only", where=f"{where}.source", hint=hint)
    return seen


def _flow(source: Source) -> str:
    """Return the source as YAML on one line, without default values."""
    content = {"kind": source.kind, **source.model_dump(mode="json", exclude_defaults=True)}
    return f"{{{', '.join(f'{key}: {_value(value)}' for key, value in content.items())}}}"


def _value(value: object) -> str:
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z/][A-Za-z0-9_./@-]*", value)
    return str(value) if plain else json.dumps(value)
