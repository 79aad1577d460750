"""The releases of a stack's adapters: their versions, and the version that each name means.

People write the manifest, `adapters/<stack>.yaml` beside the stack file, which lists the versions. `adapters:promote`
and `adapters:rollback` write the record beside it, `adapters/<stack>.lock`, with a line for each move of a name. This
module reads and writes the two files and reaches no host.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from core.errors import ConfigError
from core.paths import CHECKOUT
from core.reading.frozen import Frozen
from core.reading.rules import Problem, Sha256, matching, refuse
from core.reading.strict_yaml import read_yaml
from core.reading.words import words
from serving.spec.fields import AdapterSpec, HubSource, ModelSpec, ModuleName, Repository, ServedName, Source
from serving.spec.models import ServingSpec

LOCK_HEAD = "# Which version each adapter's name meant, since when, by whom. Written by `make adapters DO=promote`.\n"

BaseName = Annotated[
    str,
    matching(
        r"[\w-][\w.-]*/[\w-][\w.-]*@[0-9a-f]{40}|[a-z0-9][a-z0-9._-]{0,62}",
        "is not a base model; write owner/name@commit for a model of the hub, else the model's name in the stack file",
    ),
]


class ListedAdapter(Frozen):
    """One version of an adapter. It is compared with the files before anything changes."""

    name: ServedName = Field(description="Name that clients write to get it, e.g. contract.")
    version: int = Field(ge=1, description="Version. The files that are served as name@version never change.")
    source: Source = Field(description="Where it comes from, as in a stack file.")
    sha256: Sha256 = Field(description="SHA-256 of adapter_model.safetensors.")
    base: BaseName = Field(
        description="Base model: owner/name@commit on the hub, also for a copy, else its name in the stack file."
    )
    rank: int = Field(ge=1, le=512, description="LoRA rank, as in adapter_config.json.")
    target_modules: tuple[ModuleName, ...] = Field(
        min_length=1, description="Modules that it changes, as in adapter_config.json."
    )
    trained_on: Repository | None = Field(
        default=None,
        description="Base model in its adapter_config.json, if that is another name of `base`.",
    )
    prompt: str = Field(
        default="",
        max_length=4000,
        description="Prompt of a promote: the adapter must answer it differently from the base model. If empty, one of"
        " three built-in prompts. It is visible on the host, so write no secret.",
    )

    @property
    def versioned_name(self) -> str:
        """The immutable served name, e.g. `contract@3`."""
        return f"{self.name}@{self.version}"

    def spec(self, *, promoted: bool) -> AdapterSpec:
        """Return it as an adapter of a serving spec."""
        return AdapterSpec(
            name=self.name,
            version=self.version,
            source=self.source,
            sha256=self.sha256,
            rank=self.rank,
            target_modules=self.target_modules,
            base=self.trained_on or (self.base.partition("@")[0] if "/" in self.base else None),
            promoted=promoted,
        )


class AdapterManifest(Frozen):
    """All versions that the hosts of a stack store and serve."""

    adapters: tuple[ListedAdapter, ...] = Field(min_length=1, description="The versions, of all names.")

    @model_validator(mode="after")
    def _versions_differ(self) -> Self:
        seen: set[str] = set()
        problems = []
        for index, adapter in enumerate(self.adapters):
            if adapter.versioned_name in seen:
                hint = "give the new files a new version"
                problems.append(
                    Problem(f"adapters[{index}].version", f"{adapter.versioned_name} is listed twice", hint)
                )
            seen.add(adapter.versioned_name)
        refuse(problems)
        return self


class Move(Frozen):
    """One line of the record: a name that moved, or that was retired."""

    time: str
    who: str
    what: Literal["promote", "rollback", "retire"]
    adapter: str
    from_version: str = Field(alias="from", description="Previous versioned name; empty for the first.")
    to: str = Field(description="New versioned name; empty for a retired name.")
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Releases:
    """Manifest and record of one stack, as read from the files."""

    path: Path
    manifest: AdapterManifest
    moves: Sequence[Move]

    @property
    def lock(self) -> Path:
        """Path of the record."""
        return self.path.with_suffix(".lock")

    @property
    def promoted(self) -> Mapping[str, str]:
        """The versioned name that each listed name means, from the newest line of the record.

        Without a line, it is the oldest listed version, so that adding a version never moves a name.
        """
        oldest: dict[str, ListedAdapter] = {}
        for adapter in sorted(self.manifest.adapters, key=lambda each: each.version):
            oldest.setdefault(adapter.name, adapter)
        return {name: self.recorded.get(name, adapter.versioned_name) for name, adapter in oldest.items()}

    @property
    def recorded(self) -> Mapping[str, str]:
        """The version that each name means by its newest line in the record, listed or not; without retired names."""
        return _recorded(self.moves)

    def listed(self, version: str) -> ListedAdapter:
        """Return the adapter with the versioned name `version`. Raises StopIteration if it is not listed."""
        return next(each for each in self.manifest.adapters if each.versioned_name == version)

    def last_move(self, name: str) -> Move | None:
        """Return the newest line of `name` in the record."""
        return next((move for move in reversed(self.moves) if move.adapter == name), None)

    def before(self, name: str) -> str:
        """Return the version of `name` before the newest promote that was not rolled back; empty if there is none.

        So each rollback goes one version further back, and never forward again.
        """
        trail: list[str] = []
        for move in self.moves:
            if move.adapter == name:
                trail = _led_to(trail, move)
        return trail[-2] if len(trail) > 1 else ""

    def servings(
        self, main: ServingSpec, pools: Mapping[str, ServingSpec]
    ) -> tuple[ServingSpec, dict[str, ServingSpec]]:
        """Return what each pool serves with its adapters: those whose `base` is its base model.

        The pool main gets the others. Raises ConfigError if they do not fit together.
        """
        self._check_pools({"serving": main, **{f"pools.{name}": spec for name, spec in pools.items()}})
        own = {base_name(main.model)}
        bases = {name: base_name(spec.model) for name, spec in pools.items() if base_name(spec.model) not in own}
        with_adapters = {
            name: self.serving(spec, lambda base, name=name: base == bases.get(name))  # type: ignore[misc]
            for name, spec in pools.items()
        }
        return self.serving(main, lambda base: base not in bases.values()), with_adapters

    def serving(self, spec: ServingSpec, fits: Callable[[str], bool] = lambda _base: True) -> ServingSpec:
        """Return `spec` with the adapters whose base `fits`. Raises ConfigError if they do not fit together."""
        where = shown(self.path)
        chosen = [(index, each) for index, each in enumerate(self.manifest.adapters) if fits(each.base)]
        if not chosen:
            return spec
        if spec.adapters:
            raise ConfigError(
                "the stack's own serving.adapters lists adapters too",
                where=where,
                hint="list all of them here, remove them from the stack file and run `make up`",
            )
        if spec.engine != "vllm":
            hint = "write adapters of other engines in the stack file"
            raise ConfigError(f"a manifest of adapters is for engine vllm, not {spec.engine}", where=where, hint=hint)
        promoted, listed = self.promoted, [adapter.versioned_name for adapter in self.manifest.adapters]
        for name, version in promoted.items():
            if version not in listed:
                raise ConfigError(
                    f"{name} is {version} in {self.lock.name}, which is not listed",
                    where=where,
                    hint="list it again, or promote another version before you remove it",
                )
        self._check_bases(spec.model, chosen)
        adapters = tuple(each.spec(promoted=promoted[each.name] == each.versioned_name) for _, each in chosen)
        content = {**spec.model_dump(), "adapters": [each.model_dump() for each in adapters], "aliases_by": "promote"}
        try:
            return ServingSpec.model_validate(content)
        except ValidationError as error:
            raise words(error, where, ServingSpec) from None

    def _check_pools(self, servings: Mapping[str, ServingSpec]) -> None:
        """Refuse an adapter whose base model two pools serve: its names could mean either."""
        for index, adapter in enumerate(self.manifest.adapters):
            keys = [key for key, spec in servings.items() if base_name(spec.model) == adapter.base]
            if len(keys) > 1:
                raise ConfigError(
                    f"{adapter.base} is the base model of {' and of '.join(keys)}",
                    where=f"{shown(self.path)}: adapters[{index}].base",
                    hint="put the hosts of both into one pool, or serve another model in one of them",
                )

    def _check_bases(self, model: ModelSpec, chosen: Sequence[tuple[int, ListedAdapter]]) -> None:
        """Refuse an adapter of another base model than the served one.

        A copy of a model may have two names, because its files do not name the original: its name in the stack file,
        and the name that all adapters use.
        """
        base = base_name(model)
        copied = next((each.base for _, each in chosen if "/" in each.base), base)
        known = (base,) if isinstance(model.source, HubSource) else (base, copied)
        for index, adapter in chosen:
            if adapter.base not in known:
                raise ConfigError(
                    f"{adapter.base} is not the base model that the stack serves",
                    where=f"{shown(self.path)}: adapters[{index}].base",
                    hint=f"write {base} if {adapter.versioned_name} was trained on it, else remove it",
                )


def _recorded(moves: Sequence[Move]) -> dict[str, str]:
    """Return the version that each name means by these lines; without retired names."""
    return {name: version for name, version in {move.adapter: move.to for move in moves}.items() if version}


def _led_to(trail: list[str], move: Move) -> list[str]:
    """Return the versions that led to the end of `move`, oldest first; `trail` has those before it.

    A move may start from another version than the one before it ended with: a checkout may lack lines of the record.
    """
    if move.what == "retire":
        return []
    if move.from_version:
        trail = _back_to(trail, move.from_version) or [*trail, move.from_version]
    if move.what == "promote":
        return [*trail, move.to]
    return _back_to(trail, move.to) or [move.to]


def _back_to(trail: list[str], version: str) -> list[str]:
    """Return `trail` up to the last place of `version`; empty if `version` is not in it."""
    return next((trail[:end] for end in range(len(trail), 0, -1) if trail[end - 1] == version), [])


def base_name(model: ModelSpec) -> str:
    """Return the base model's name in a manifest."""
    source = model.source
    return f"{source.repo}@{source.revision}" if isinstance(source, HubSource) else model.name


def shown(path: Path) -> str:
    """Return the path relative to the checkout, if it is in it."""
    return str(path.relative_to(CHECKOUT)) if path.is_relative_to(CHECKOUT) else str(path)


def read_releases(path: Path) -> Releases | None:
    """Return the manifest at `path` with its record; None if there is no manifest.

    Raises ConfigError, also if the manifest is missing while its record has names: the next `provision` would start an
    engine without adapters.
    """
    moves = _read_moves(path.with_suffix(".lock"))
    try:
        content = read_yaml(path, shown_as=shown(path))
    except FileNotFoundError:
        recorded = _recorded(moves)
        if not recorded:
            return None
        what = f"is missing, and {path.stem}.lock says that {', '.join(recorded)} is served"
        hint = f"restore it from version control; to serve no adapters, remove {path.stem}.lock too"
        raise ConfigError(what, where=shown(path), hint=hint) from None
    if content is None:
        raise ConfigError("is empty", where=shown(path), hint="list adapters in it, or remove it")
    manifest: AdapterManifest = _checked(AdapterManifest, content, shown(path))
    return Releases(path, manifest, moves)


def _read_moves(lock: Path) -> list[Move]:
    """Return the record; empty if there is none."""
    try:
        lines = read_yaml(lock, shown_as=shown(lock)) or []
    except FileNotFoundError:
        lines = []
    if not isinstance(lines, list):
        raise ConfigError("is not a list", where=shown(lock), hint="restore it from version control")
    return [_checked(Move, line, shown(lock)) for line in lines]


def record(lock: Path, move: Move) -> None:
    """Add a line to the record. Each move is one line, so that additions of two people merge."""
    line = json.dumps(move.model_dump(by_alias=True), ensure_ascii=False)
    start = "" if lock.exists() else LOCK_HEAD
    with lock.open("a", encoding="utf-8") as stream:
        stream.write(f"{start}- {line}\n")


def _checked(model: type[Any], content: Any, where: str) -> Any:
    """Return `content` as `model`."""
    if not isinstance(content, dict):
        raise ConfigError("is not a mapping", where=where, hint="see docs/adapters.md")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise words(error, where, model) from None
