"""The manifest of a stack's adapters and its record: errors, and the version that a name means."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError
from serving.adapters.manifest import Move, Releases, read_releases, record
from serving.spec.models import ServingSpec

SHA256 = "a" * 64
COMMIT = "0123456789abcdef0123456789abcdef01234567"


COPY = {"name": "base", "source": {"kind": "s3", "url": "s3://acme/base", "sha256": SHA256}}


def listed(version: int = 3, name: str = "contract", **changed: Any) -> dict[str, Any]:
    source = {"kind": "hub", "repo": "acme/contract", "revision": COMMIT}
    plain = {"name": name, "version": version, "source": source, "sha256": SHA256}
    return {**plain, "base": f"acme/base@{COMMIT}", "rank": 8, "target_modules": ["q_proj"], **changed}


def spec(**changed: Any) -> ServingSpec:
    source = {"kind": "hub", "repo": "acme/base", "revision": COMMIT}
    return ServingSpec.model_validate({"model": {"name": "base", "source": source}, **changed})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prod.yaml"


def read(path: Path, *adapters: dict[str, Any], moves: tuple[Move, ...] = ()) -> Releases:
    path.write_text(json.dumps({"adapters": adapters}))
    for move in moves:
        record(path.with_suffix(".lock"), move)
    found = read_releases(path)
    assert found
    return found


def moved(old: str, new: str, what: str = "promote") -> Move:
    values = {"time": "2026-11-21T16:00:00Z", "who": "me@here", "what": what, "adapter": new.partition("@")[0]}
    return Move.model_validate({**values, "from": old, "to": new})


def test_without_a_manifest_there_are_no_releases(path: Path) -> None:
    assert read_releases(path) is None


def test_a_missing_manifest_is_reported_while_its_record_has_names(path: Path) -> None:
    """Otherwise `provision` would start an engine without adapters from a checkout that lacks the manifest."""
    lock = path.with_suffix(".lock")
    record(lock, moved("contract@2", "contract@3"))
    with pytest.raises(ConfigError, match=r"is missing, and prod.lock says that contract is served; restore it from"):
        read_releases(path)
    record(lock, Move.model_validate({**moved("x", "contract@3", "retire").model_dump(by_alias=True), "to": ""}))
    assert read_releases(path) is None


def test_a_retired_name_that_comes_back_starts_with_its_oldest_listed_version(path: Path) -> None:
    retired = Move.model_validate({**moved("contract@4", "contract@4", "retire").model_dump(by_alias=True), "to": ""})
    found = read(path, listed(4), listed(3), moves=(moved("contract@3", "contract@4"), retired))
    assert found.promoted == {"contract": "contract@3"}
    assert found.before("contract") == ""


def test_all_versions_are_served_and_the_name_means_one(path: Path) -> None:
    serving = read(path, listed(4), listed(3), listed(1, "summary")).serving(spec())
    assert serving.served_names == ("base", "contract", "contract@4", "contract@3", "summary", "summary@1")
    assert [each.versioned_name for each in serving.adapters if each.promoted] == ["contract@3", "summary@1"]
    assert serving.aliases_by == "promote"


@pytest.mark.parametrize(
    ("moves", "meant"),
    [
        ((), "contract@3"),
        ((moved("contract@3", "contract@4"),), "contract@4"),
        ((moved("contract@3", "contract@4"), moved("contract@4", "contract@3", "rollback")), "contract@3"),
    ],
    ids=["the oldest at first", "promoted", "rolled back"],
)
def test_the_record_says_what_a_name_means(path: Path, moves: tuple[Move, ...], meant: str) -> None:
    found = read(path, listed(4), listed(3), moves=moves)
    assert found.promoted == {"contract": meant}
    last = found.last_move("contract")
    assert (last.to if last else None) == (moves[-1].to if moves else None)


TRAILS: dict[str, tuple[str, str]] = {
    "nothing moved": ("", ""),
    "the first": ("p-3", ""),
    "promoted": ("p34", "contract@3"),
    "promoted twice": ("p23 p34", "contract@3"),
    "promoted twice, rolled back": ("p23 p34 r43", "contract@2"),
    "promoted twice, rolled back twice": ("p23 p34 r43 r32", ""),
    "rolled back, then promoted": ("p23 p34 r43 p35", "contract@3"),
    "rolled back over two": ("p12 p23 p34 r42", "contract@1"),
    "rolled back to what it never was": ("p23 p34 r41", ""),
    "promoted to an older one": ("p23 p34 p43", "contract@4"),
    "rolled back by somebody whose line lacks": ("p23 p34 p35", "contract@3"),
    "promoted by somebody whose line lacks": ("p23 p45", "contract@4"),
}
"""Moves (promote or rollback, from, to), and the target of the next rollback."""

KINDS = {"p": "promote", "r": "rollback"}


@pytest.mark.parametrize("name", TRAILS)
def test_a_rollback_undoes_the_last_promote_that_was_not_rolled_back(path: Path, name: str) -> None:
    """A second rollback once went forward again, to the version that the first had left."""
    words, before = TRAILS[name]
    versions = {"-": "", **{number: f"contract@{number}" for number in "12345"}}
    moves = [moved(versions[word[1]], versions[word[2]], KINDS[word[0]]) for word in words.split()]
    assert read(path, listed(), moves=(*moves, moved("", "summary@1"))).before("contract") == before


def test_a_copy_of_the_base_has_its_own_name_or_that_of_the_original(path: Path) -> None:
    """The host compares the adapter's config with the repository, because a bucket does not name its model."""
    served = read(path, listed(3, base="base"), listed(4)).serving(spec(model=COPY))
    assert [adapter.base for adapter in served.adapters] == [None, "acme/base"]
    with pytest.raises(ConfigError, match=r"adapters\[1\].base: acme/other@.* is not the base model"):
        read(path, listed(3), listed(4, base=f"acme/other@{COMMIT}")).serving(spec(model=COPY))


def test_the_record_has_a_line_for_each_move_below_its_head(path: Path) -> None:
    read(path, listed(3), moves=(moved("", "contract@3"), moved("contract@3", "contract@4")))
    head, *lines = path.with_suffix(".lock").read_text().splitlines()
    assert head.startswith("# ")
    assert [json.loads(line.removeprefix("- "))["to"] for line in lines] == ["contract@3", "contract@4"]


REFUSED: dict[str, tuple[list[dict[str, Any]], str]] = {
    "no adapters": ([], "adapters: is empty"),
    "no checksum": ([{k: v for k, v in listed().items() if k != "sha256"}], "adapters[0].sha256: is missing"),
    "no base": ([{k: v for k, v in listed().items() if k != "base"}], "adapters[0].base: is missing"),
    "no modules": ([listed(target_modules=[])], "adapters[0].target_modules: is empty"),
    "one version twice": ([listed(3), listed(3)], "adapters[1].version: contract@3 is listed twice"),
    "base without a commit": ([listed(base="acme/base@main")], "acme/base@main is not a base model; write owner/name@"),
    "a module's whole name": ([listed(target_modules=["model.q_proj"])], "model.q_proj is not a module name"),
    "a branch": (
        [listed(source={"kind": "hub", "repo": "acme/contract", "revision": "main"})],
        "adapters[0].source.revision: main is not a full commit hash",
    ),
    "an unknown key": ([listed(alias="contract")], "adapters[0].alias: is not a known key"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_manifest_is_one_error_line(path: Path, name: str) -> None:
    adapters, words = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        read(path, *adapters)
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_an_empty_manifest_is_one_error_line(path: Path) -> None:
    """A shell makes one before `make adapters DO=manifest > FILE` runs."""
    path.touch()
    with pytest.raises(ConfigError, match="is empty; list adapters in it, or remove it"):
        read_releases(path)


MISFITS: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[Move, ...], str]] = {
    "another base": (
        listed(base=f"acme/other@{COMMIT}"),
        {},
        (),
        f"adapters[0].base: acme/other@{COMMIT} is not the base model that the stack serves; write acme/base@{COMMIT}",
    ),
    "another commit of the base": (listed(base="acme/base@" + "f" * 40), {}, (), "is not the base model that"),
    "another base than the copy's": (listed(base="other"), {"model": COPY}, (), "other is not the base model that"),
    "a rank above the limit": (listed(rank=64), {}, (), "adapters[0].rank: 64 is above vllm.max_lora_rank 16"),
    "the base model's name": (listed(name="base"), {}, (), "base is already the name in model.name"),
    "Ollama": (listed(), {"engine": "ollama"}, (), "is for engine vllm, not ollama"),
    "adapters in the stack's file too": (
        listed(),
        {"adapters": [{"name": "x", "source": {"kind": "folder", "path": "/x"}}]},
        (),
        "the stack's own serving.adapters lists adapters too",
    ),
    "a promoted version that is gone": (
        listed(4),
        {},
        (moved("contract@2", "contract@3"),),
        "contract is contract@3 in prod.lock, which is not listed; list it again, or promote another",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_manifest_that_does_not_fit_the_stack_is_refused(path: Path, name: str) -> None:
    adapter, changed, moves, words = MISFITS[name]
    found = read(path, adapter, moves=moves)
    with pytest.raises(ConfigError) as caught:
        found.serving(spec(**changed))
    assert words in str(caught.value)


def test_an_adapter_of_two_pools_is_refused(path: Path) -> None:
    other = spec(model={**spec().model.model_dump(), "name": "other"})
    words = rf"adapters\[0\].base: acme/base@{COMMIT} is the base model of serving and of pools.large; put the hosts"
    with pytest.raises(ConfigError, match=words):
        read(path, listed()).servings(spec(), {"large": other})
