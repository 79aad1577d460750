"""Adapters that are not what the manifest says, or do not fit: one line each, before any host is reached."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from core.errors import ConfigError
from provisioning.adapters import checks
from provisioning.adapters.checks import check_releases, look
from serving.adapters.checks import read_heads
from serving.adapters.manifest import AdapterManifest, Releases
from serving.sources.resolve import HubFetch, ListedFetch
from serving.spec.models import ServingSpec
from tests.doubles.hub import REPO, REVISION, HubDouble, running_hub
from tools.tiny_model import TinyModel, make_tiny_model

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return make_tiny_model("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture
def folder(llama: TinyModel, tmp_path: Path) -> Path:
    """A whole adapter that a test may break."""
    return Path(shutil.copytree(llama.adapter("a"), tmp_path / "adapter"))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def listed(folder: Path, **changed: Any) -> dict[str, Any]:
    """Return the adapter in `folder` as a manifest lists it."""
    modules = json.loads((folder / CONFIG).read_text())["target_modules"]
    values = {"name": "contract", "version": 1, "source": {"kind": "folder", "path": str(folder)}, "rank": 8}
    return {**values, "sha256": sha256(folder / WEIGHTS), "base": "tiny", "target_modules": modules, **changed}


TINY = {"kind": "tiny", "name": "llama"}
OF_HUB = {"kind": "hub", "repo": REPO, "revision": REVISION}


def check(*adapters: dict[str, Any], base: dict[str, Any] = TINY, **vllm: Any) -> list[str]:
    """Return the lines of what is wrong."""
    manifest = AdapterManifest.model_validate({"adapters": adapters})
    model = {"name": "tiny", "source": base, "context_tokens": 512}
    spec = ServingSpec.model_validate({"model": model, "vllm": vllm})
    try:
        check_releases(Releases(Path("/here/adapters/prod.yaml"), manifest, ()), spec)
    except ConfigError as error:
        lines = [str(error), *error.detail.splitlines()]
        return [line.removeprefix("error: ").removeprefix("/here/adapters/prod.yaml: ") for line in lines]
    return []


def edit(path: Path, **changed: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def test_matching_adapter_passes(folder: Path) -> None:
    assert check(listed(folder)) == []


BROKEN: dict[str, tuple[Callable[[Path], object], dict[str, Any], str]] = {
    "a rank above the limit": (lambda path: edit(path / CONFIG, r=64), {}, "rank 64 of "),
    "another rank than listed": (lambda _: None, {"rank": 4}, "adapters[0].rank: 4 is not the 8 of its"),
    "a module that is not changed": (
        lambda _: None,
        {"target_modules": ["q_proj", "w_proj"]},
        "adapters[0].target_modules: w_proj is not one of its target modules; write those of adapter_config.json: [",
    ),
    "a module that is not listed": (
        lambda _: None,
        {"target_modules": ["q_proj"]},
        "adapters[0].target_modules: down_proj is missing; write those of adapter_config.json: [",
    ),
    "no weights": (lambda path: (path / WEIGHTS).unlink(), {}, f"has no {WEIGHTS}"),
    "no config": (lambda path: (path / CONFIG).unlink(), {}, f"has no {CONFIG}"),
    "another checksum": (lambda _: None, {"sha256": "0" * 64}, "adapters[0].sha256: "),
    "no folder": (shutil.rmtree, {}, "adapters[0].source.path: there is no folder"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_mismatching_adapter_is_refused(folder: Path, name: str) -> None:
    break_it, changed, words = BROKEN[name]
    entry = listed(folder, **changed)
    break_it(folder)
    (line,) = check(entry)
    assert words in line


def test_adapter_of_another_base_is_found_by_its_modules(tmp_path: Path) -> None:
    other = make_tiny_model("exaone", tmp_path / "exaone").adapter("a")
    (line,) = check(listed(other))
    assert "was trained on another base model" in line


def test_each_adapter_that_does_not_fit_has_a_line(folder: Path) -> None:
    lines = check(listed(folder, rank=4), listed(folder, version=2), listed(folder, version=3, sha256="0" * 64))
    assert [line.partition(":")[0] for line in lines] == ["adapters[0].rank", "adapters[2].sha256"]


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    """A hub that has the adapter."""
    files = {name: (folder / name).read_bytes() for name in (CONFIG, WEIGHTS)}
    with running_hub(HubDouble(files, large=(WEIGHTS,))) as double:
        monkeypatch.setenv("HF_ENDPOINT", double.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield double


def of_hub(folder: Path, **changed: Any) -> dict[str, Any]:
    return listed(folder, source=OF_HUB, **changed)


def test_of_an_adapter_on_the_hub_only_its_config_and_the_head_of_its_weights_are_read(
    hub: HubDouble, folder: Path
) -> None:
    assert check(of_hub(folder)) == []
    assert hub.downloads == [(CONFIG, ""), (WEIGHTS, "")]


def test_an_adapter_on_the_hub_is_compared_with_a_base_that_lies_here(hub: HubDouble, tmp_path: Path) -> None:
    """Once only the engine reported it, after the weights had been copied to all hosts."""
    other = make_tiny_model("exaone", tmp_path / "exaone").adapter("a")
    hub.files = {name: (other / name).read_bytes() for name in (CONFIG, WEIGHTS)}
    (line,) = check(of_hub(other))
    assert f"{REPO} was trained on another base model: the base has no " in line


def weight_map(folder: Path) -> bytes:
    """Return the index of a base whose weights are in several files."""
    names = read_heads(folder / "model.safetensors")
    return json.dumps({"weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}).encode()


@pytest.mark.parametrize("shape", ["llama", "exaone"])
@pytest.mark.parametrize("indexed", [False, True], ids=["one file", "many files"])
def test_an_adapter_here_is_compared_with_a_base_on_the_hub(
    hub: HubDouble, folder: Path, tmp_path: Path, shape: Literal["llama", "exaone"], indexed: bool
) -> None:
    """Of a base in many files the index has all modules; its sizes are the host's to compare."""
    base = make_tiny_model(shape, tmp_path / shape).base
    weights = (base / "model.safetensors").read_bytes()
    hub.files = {"config.json": b"{}", "model-00001-of-00001.safetensors": weights}
    if indexed:
        hub.files["model.safetensors.index.json"] = weight_map(base)
    lines = check(listed(folder, base=f"{REPO}@{REVISION}"), base=OF_HUB)
    assert [name for name, _ in hub.downloads] == [
        "config.json",
        "model.safetensors.index.json" if indexed else "model-00001-of-00001.safetensors",
    ]
    assert len(lines) == (shape == "exaone")
    assert all("was trained on another base model: the base has no " in line for line in lines)


def test_unreadable_base_is_checked_by_the_hosts(
    hub: HubDouble, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.token = "hf_sample"
    assert check(listed(folder), base=OF_HUB) == []
    said = capsys.readouterr().err
    assert (
        f"tiny cannot be read from this machine ({REPO} is gated, private or does not exist; set source.token" in said
    )
    assert said.endswith("the hosts compare adapters with it\n")


@pytest.mark.parametrize(
    ("content", "changed", "words"),
    [
        ({"r": 64}, {}, f"adapters[0]: rank 64 of {REPO} is above vllm.max_lora_rank 16"),
        ({}, {"sha256": "0" * 64}, f"adapters[0].sha256: {WEIGHTS} of {REPO} has SHA-256 "),
        ({"peft_type": "IA3"}, {}, f"{CONFIG} of {REPO} is not of a LoRA adapter"),
        ({"target_modules": ["q_proj"]}, {}, "is not one of its target modules"),
        ({"use_dora": True}, {}, f"{REPO} holds more than LoRA matrices (DoRA)"),
        (
            {"base_model_name_or_path": "acme/other"},
            {"base": f"acme/copied@{REVISION}"},
            "acme/other, not on acme/copied",
        ),
    ],
    ids=["rank", "checksum", "no LoRA", "modules", "DoRA", "base"],
)
def test_an_adapter_on_the_hub_that_does_not_fit_is_refused(
    hub: HubDouble, folder: Path, content: dict[str, Any], changed: dict[str, Any], words: str
) -> None:
    entry = of_hub(folder, **changed)
    hub.files[CONFIG] = json.dumps({**json.loads(hub.files[CONFIG]), **content}).encode()
    (line,) = check(entry)
    assert words in line


@pytest.mark.parametrize(
    ("missing", "words"), [(CONFIG, f"{REPO} has no {CONFIG}"), (WEIGHTS, f"{REPO} has no {WEIGHTS}")]
)
def test_missing_files_on_the_hub_are_reported(hub: HubDouble, folder: Path, missing: str, words: str) -> None:
    del hub.files[missing]
    (line,) = check(of_hub(folder))
    assert words in line


def test_a_gated_repository_names_the_page_to_visit(
    hub: HubDouble, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token, hub.refusal = "hf_sample", 403
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    (line,) = check(of_hub(folder))
    assert line.startswith(
        f"adapters[0].source: the token may not read {REPO}; accept its licence on {hub.url}/{REPO} with"
    )


NO_ANSWER = (
    "{place} does not answer within 0.2 s; is it running, and can this machine reach it? run the same command again"
)
SILENT: dict[str, tuple[str, float, str]] = {
    "no answer": ("import time; time.sleep(60)", 0.2, f"adapters[0].source: {NO_ANSWER}"),
    "no word": ("raise SystemExit(1)", 60, "adapters[0].source: failed"),
}


@pytest.mark.parametrize("name", SILENT)
@pytest.mark.parametrize(
    "source",
    [HubFetch(REPO, REVISION), ListedFetch("s3://acme/contract", "0" * 64, by_host=True)],
    ids=["from here", "by the host"],
)
def test_silent_source_is_an_error_unless_only_the_host_can_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, source: HubFetch | ListedFetch
) -> None:
    program, look_s, words = SILENT[name]
    (tmp_path / "fetch.py").write_text(program)
    monkeypatch.setattr(checks, "FETCH", tmp_path / "fetch.py")
    monkeypatch.setattr(checks, "LOOK_S", look_s)
    if isinstance(source, ListedFetch):
        assert look(source, key="adapters[0].source") is None
        return
    with pytest.raises(ConfigError) as caught:
        look(source, key="adapters[0].source")
    assert str(caught.value) == words.format(place=REPO)
