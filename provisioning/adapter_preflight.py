"""Whether the adapters of a manifest are what it says and fit what is served: looked at before any host is reached.

Of files that lie elsewhere only adapter_config.json, the checksums and the heads of weights are read.
Each problem is one line.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.console import say
from core.errors import ConfigError
from core.paths import CHECKOUT
from core.rules import Problem
from core.words import error_of
from provisioning.cloud_login import with_login
from serving.adapter_manifest import ListedAdapter, Releases, shown
from serving.adapters import (
    CONFIG,
    WEIGHTS,
    AdapterConfig,
    Shapes,
    base_shapes,
    check_adapter,
    check_config,
    check_tensors,
    read_adapter_config,
    read_shapes,
)
from serving.ollama_sources import RegistryFetch
from serving.sources import HubFetch, ListedFetch, LocalFolder, resolve, resolve_model
from serving.spec import ServingSpec

FETCH = CHECKOUT / "provisioning/programs/fetch_model.py"
LOOK_S = 120


@dataclass(frozen=True)
class _Base:
    """What is known of the base model here."""

    shapes: Shapes
    """Of its tensors; none when it cannot be looked at from here."""
    repo: str | None


def check_releases(releases: Releases, spec: ServingSpec) -> None:
    """Raise ConfigError with a line for each adapter that is not what the manifest says, or does not fit `spec`.

    That the manifest itself fits the stack is looked at when it is read.
    """
    base = _base(spec)
    problems = []
    for index, listed in enumerate(releases.manifest.adapters):
        try:
            _check(listed, spec, base, key=f"adapters[{index}]")
        except ConfigError as error:
            problems.append(Problem(error.where, error.what, error.hint))
    if problems:
        raise error_of(problems, shown(releases.path))


def _base(spec: ServingSpec) -> _Base:
    key = "serving.model.source"
    source = with_login(resolve_model(spec.model.source, key=key), key=key)
    repo = source.repo if isinstance(source, HubFetch) else None
    if isinstance(source, LocalFolder):
        return _Base(base_shapes(source.path), repo)
    try:
        return _Base(_shapes(_shown(source, key)), repo)
    except ConfigError as error:
        say(f"{spec.model.name} cannot be looked at from here ({error.what}); a host compares with it what it fetches")
        return _Base({}, repo)


def _check(listed: ListedAdapter, spec: ServingSpec, base: _Base, *, key: str) -> None:
    """Raise ConfigError unless the files are what is listed; its `where` is the key in the manifest."""
    adapter = listed.spec(promoted=True)
    source = with_login(resolve(listed.source, key=f"{key}.source"), key=f"{key}.source")
    rank = spec.vllm.max_lora_rank
    if isinstance(source, LocalFolder):
        check_adapter(adapter, source.path, base=None, base_repo=base.repo, max_rank=rank, where=key)
        config, shapes = read_adapter_config(source.path, where=key), read_shapes(source.path / WEIGHTS)
        check_tensors(config, shapes, base.shapes, source.path, where=key)
        return
    found = look(source, key=f"{key}.source")
    if found is None:
        say(f"{listed.versioned_name} cannot be looked at from here; its host checks it")
        return
    check_config(adapter, found.config, found.name, base_repo=base.repo, max_rank=rank, where=key)
    check_tensors(found.config, found.shapes, base.shapes, found.name, where=key)
    if found.sha256 and found.sha256 != listed.sha256:
        raise ConfigError(
            f"{WEIGHTS} of {found.name} has SHA-256 {found.sha256}, not the one that is listed",
            where=f"{key}.sha256",
            hint="list other files as a new version",
        )


@dataclass(frozen=True)
class Look:
    """What was seen of an adapter that lies elsewhere."""

    name: str
    config: AdapterConfig
    shapes: Shapes
    sha256: str
    """Of the weights; empty when the place does not tell."""


def look(source: HubFetch | ListedFetch, *, key: str) -> Look | None:
    """Return what the files' place says of them; none when only the host may read it. Raises ConfigError."""
    try:
        report = _shown(source, key)
    except ConfigError:
        if isinstance(source, ListedFetch) and source.by_host:
            return None
        raise
    place, _ = source.fetch_arguments
    for name in (CONFIG, WEIGHTS):
        if name not in report["files"]:
            raise ConfigError(f"{place} has no {name}", where=key, hint="name the files that peft saved")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, CONFIG).write_text(report["content"], encoding="utf-8")
        config = _renamed(Path(folder), place, key)
    return Look(place, config, _shapes(report), report["files"][WEIGHTS])


def _shapes(report: Mapping[str, Any]) -> Shapes:
    return {name: tuple(sizes) for name, sizes in report["tensors"].items()}


def _shown(source: HubFetch | ListedFetch | RegistryFetch, key: str) -> dict[str, Any]:
    """Return what the program that fetches shows of the files. Raises ConfigError with its own words."""
    place, pin = source.fetch_arguments
    try:
        done = subprocess.run(
            [sys.executable, str(FETCH), place, pin, "--show", CONFIG],
            env={**os.environ, **_secrets(source)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LOOK_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        hint = "is it up, and may this computer reach it? run the same command again"
        raise ConfigError(f"{place} does not answer within {LOOK_S} s", where=key, hint=hint) from None
    if done.returncode != 0:
        raise ConfigError((done.stderr.strip().splitlines() or ["failed"])[-1], where=key)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _renamed(folder: Path, name: str, key: str) -> AdapterConfig:
    """Return the config in `folder`, errors told of the place `name` that it came from."""
    try:
        return read_adapter_config(folder, where=key)
    except ConfigError as error:
        raise ConfigError(error.what.replace(str(folder), name), where=error.where, hint=error.hint) from None


def _secrets(source: HubFetch | ListedFetch | RegistryFetch) -> Mapping[str, str]:
    return {name: value.get_secret_value() for name, value in source.environment.items()}
