"""Checks that the adapters of a manifest match it and fit the served model, before any host is connected to.

Of remote files only adapter_config.json, the checksums and the heads of the weights are read. Each problem is one line.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.console import say
from core.errors import ConfigError
from core.paths import CHECKOUT
from core.reading.rules import Problem
from core.reading.words import error_of
from provisioning.access.cloud_login import with_login
from serving.adapters.checks import (
    CONFIG,
    WEIGHTS,
    Heads,
    LoraConfig,
    base_of,
    check_adapter,
    check_config,
    check_tensors,
    in_words,
    read_adapter_config,
    read_heads,
)
from serving.adapters.manifest import ListedAdapter, Releases, shown
from serving.formats.json_text import FormatError
from serving.formats.lora_config import read_lora_config
from serving.formats.lora_tensors import Base
from serving.formats.model_config import CONFIG as MODEL_CONFIG
from serving.formats.model_config import read_model_config
from serving.formats.weight_heads import Tensor
from serving.sources.ollama import RegistryFetch
from serving.sources.resolve import HubFetch, ListedFetch, LocalFolder, resolve, resolve_model
from serving.spec.models import ServingSpec

FETCH = CHECKOUT / "provisioning/programs/fetch/fetch_model.py"
LOOK_S = 120


@dataclass(frozen=True)
class _Base:
    """The facts about the base model that this machine can read."""

    tensors: Base
    """Its tensors; empty if this machine cannot read it."""
    repo: str | None


def check_releases(releases: Releases, spec: ServingSpec) -> None:
    """Raise ConfigError with a line for each adapter that differs from the manifest or does not fit `spec`.

    If `spec` has adapters, those are checked, else all.

    Whether the manifest fits the stack is checked when it is read.
    """
    names = {adapter.versioned_name for adapter in spec.adapters}
    every = enumerate(releases.manifest.adapters)
    own = [(index, each) for index, each in every if not names or each.versioned_name in names]
    base = _base(spec)
    problems = []
    for index, listed in own:
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
        return _Base(base_of(source.path), repo)
    try:
        report = _shown(source, key, MODEL_CONFIG)
        return _Base(Base(_heads(report), _architecture(report["content"])), repo)
    except ConfigError as error:
        say(f"{spec.model.name} cannot be read from this machine ({error.what}); the hosts compare adapters with it")
        return _Base(Base({}), repo)


def _architecture(content: str) -> str:
    """Return the architecture that the text of config.json names; empty when it names none."""
    try:
        return read_model_config(content.encode()).architecture
    except FormatError:
        return ""


def _check(listed: ListedAdapter, spec: ServingSpec, base: _Base, *, key: str) -> None:
    """Raise ConfigError if the files differ from the entry; its `where` is the key in the manifest."""
    adapter = listed.spec(promoted=True)
    source = with_login(resolve(listed.source, key=f"{key}.source"), key=f"{key}.source")
    rank = spec.vllm.max_lora_rank
    if isinstance(source, LocalFolder):
        check_adapter(adapter, source.path, base=None, base_repo=base.repo, max_rank=rank, where=key)
        config, heads = read_adapter_config(source.path, where=key), read_heads(source.path / WEIGHTS)
        check_tensors(config, heads, base.tensors, source.path, where=key)
        return
    found = look(source, key=f"{key}.source")
    if found is None:
        say(f"{listed.versioned_name} cannot be read from this machine; the hosts check it")
        return
    check_config(adapter, found.config, found.name, base_repo=base.repo, max_rank=rank, where=key)
    check_tensors(found.config, found.heads, base.tensors, found.name, where=key)
    if found.sha256 and found.sha256 != listed.sha256:
        raise ConfigError(
            f"{WEIGHTS} of {found.name} has SHA-256 {found.sha256}, not the listed one",
            where=f"{key}.sha256",
            hint="list other files as a new version",
        )


@dataclass(frozen=True)
class Look:
    """A remote adapter: what its source shows without a download of the weights."""

    name: str
    config: LoraConfig
    heads: Heads
    sha256: str
    """Of the weights; empty if the source has no checksum."""


def look(source: HubFetch | ListedFetch, *, key: str) -> Look | None:
    """Return what the source shows of an adapter; None if only a host can read it. Raises ConfigError."""
    try:
        report = _shown(source, key, CONFIG)
    except ConfigError:
        if isinstance(source, ListedFetch) and source.by_host:
            return None
        raise
    place, _ = source.fetch_arguments
    for name in (CONFIG, WEIGHTS):
        if name not in report["files"]:
            raise ConfigError(f"{place} has no {name}", where=key, hint="name the files that peft saved")
    content = report["content"].encode()
    config = in_words(lambda: read_lora_config(content, "vllm"), f"{CONFIG} of {place}", key)
    return Look(place, config, _heads(report), report["files"][WEIGHTS])


def _heads(report: Mapping[str, Any]) -> Heads:
    return {
        name: Tensor(dtype, tuple(shape) if shape is not None else None)
        for name, (dtype, shape) in report["tensors"].items()
    }


def _shown(source: HubFetch | ListedFetch | RegistryFetch, key: str, name: str) -> dict[str, Any]:
    """Return the output of fetch_model.py about the files, with the content of `name`. Raises ConfigError."""
    place, pin = source.fetch_arguments
    conditions = source.conditions if isinstance(source, HubFetch) else ()
    try:
        done = subprocess.run(
            [sys.executable, str(FETCH), place, pin, "--show", name, *conditions],
            env={**os.environ, "LLM_FETCH_PATIENCE_S": str(LOOK_S - 30), **_secrets(source)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LOOK_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        hint = "is it running, and can this machine reach it? run the same command again"
        raise ConfigError(f"{place} does not answer within {LOOK_S} s", where=key, hint=hint) from None
    if done.returncode != 0:
        raise ConfigError((done.stderr.strip().splitlines() or ["failed"])[-1], where=key)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _secrets(source: HubFetch | ListedFetch | RegistryFetch) -> Mapping[str, str]:
    return {name: value.get_secret_value() for name, value in source.environment.items()}
