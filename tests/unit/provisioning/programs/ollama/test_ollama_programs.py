"""Ollama releases are unpacked completely or not at all; models are made again if their inputs change."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from http.client import IncompleteRead
from pathlib import Path
from typing import Any, ClassVar

import pytest

from provisioning.programs.ollama import ollama_release
from provisioning.programs.ollama.llm_ollama import builder
from provisioning.programs.ollama.llm_ollama import main as models
from provisioning.programs.ollama.llm_ollama.default_system import default_system
from provisioning.programs.ollama.llm_ollama.recipes import recipes
from provisioning.programs.ollama.llm_ollama.store import LIBRARY, ModelError, Store

SAYS = "#!/bin/sh\necho Warning: client version is {}\n"


def packed(folder: Path, script: str, name: str = "bin/ollama") -> str:
    """Return an archive with a program in it."""
    program = folder / "program"
    program.write_text(script)
    program.chmod(0o755)
    with tarfile.open(folder / "ollama.tar.gz", "w:gz") as tar:
        tar.add(program, name)
    return str(folder / "ollama.tar.gz")


def test_a_release_is_unpacked_and_found_again(tmp_path: Path) -> None:
    wanted = (packed(tmp_path, SAYS.format("1.2.3")), str(tmp_path / "releases" / "1.2.3"), "1.2.3")
    assert ollama_release.main(*wanted, "--check") == 1
    assert ollama_release.main(*wanted) == 0
    assert ollama_release.main(*wanted, "--check") == 0
    assert [each.name for each in (tmp_path / "releases").iterdir()] == ["1.2.3"]


@pytest.mark.parametrize(
    ("script", "name", "words"),
    [
        (SAYS.format("1.2.30"), "bin/ollama", "does not hold version 1.2.3: its program says"),
        ("#!/bin/sh\n", "bin/ollama", "its program says 'nothing'"),
        (SAYS.format("1.2.3"), "ollama", "bin/ollama of the archive does not run on this host"),
        ("#!/no/such/shell\n", "bin/ollama", "bin/ollama of the archive does not run on this host"),
    ],
)
def test_a_wrong_release_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], script: str, name: str, words: str
) -> None:
    archive = packed(tmp_path, script, name)
    assert ollama_release.main(archive, str(tmp_path / "releases" / "1.2.3"), "1.2.3") == 1
    assert words in capsys.readouterr().err
    assert list((tmp_path / "releases").iterdir()) == []


def test_an_invalid_archive_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ollama.tar.gz").write_text("<html>not found</html>")
    assert ollama_release.main(str(tmp_path / "ollama.tar.gz"), str(tmp_path / "releases" / "1"), "1") == 1
    assert "error: tar cannot unpack" in capsys.readouterr().err


Change = Callable[[Path, list[dict[str, Any]]], object]


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        pytest.param(lambda _folder, _models: None, set(), id="nothing"),
        pytest.param(
            lambda folder, _: (folder / "base" / "config.json").write_text("{ }"), {"base", "contract"}, id="a file"
        ),
        pytest.param(
            lambda folder, _: (folder / "base" / "README.md").write_text("x"), set(), id="a file that is not read"
        ),
        pytest.param(
            lambda folder, _: (folder / "a" / "x.safetensors").write_text("xx"), {"contract"}, id="the adapter"
        ),
        pytest.param(
            lambda _, wanted: wanted[0].update(settings={"system": "x"}), {"base", "contract"}, id="a setting"
        ),
    ],
)
def test_a_recipe_changes_with_every_input_of_a_model(tmp_path: Path, change: Change, changed: set[str]) -> None:
    for folder in ("base", "a"):
        (tmp_path / folder).mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    (tmp_path / "a" / "x.safetensors").write_text("x")
    wanted: list[dict[str, Any]] = [
        {"names": ["base"], "from": {"folder": str(tmp_path / "base")}, "settings": {}},
        {"names": ["contract"], "from": {"model": "base"}, "adapter": str(tmp_path / "a")},
    ]
    before = recipes(wanted)
    change(tmp_path, wanted)
    after = recipes(wanted)
    assert {name for name in before if before[name] != after[name]} == changed


def served(root: Path, *names: str, recipe: str = "recipe") -> Store:
    """Return a store in which each model has its own blob and one shared blob."""
    store = Store(root)
    store.prepare()
    for name in names:
        layers = []
        for content in (name.encode(), b"shared"):
            digest = hashlib.sha256(content).hexdigest()
            (store.blobs / f"sha256-{digest}").write_bytes(content)
            layers.append({"digest": f"sha256:{digest}", "size": len(content)})
        manifest = store.building / LIBRARY / name.replace(":", "/")
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(json.dumps({"config": layers[0], "layers": layers[1:]}))
    store.publish(dict.fromkeys(names, recipe))
    return store


def test_pruning_removes_unnamed_models_and_their_own_blobs(tmp_path: Path) -> None:
    store = served(tmp_path, "kept:1", "other:1", "other:2")
    for source in ("needed", "former"):
        (store.sources / source).mkdir(parents=True)
    store.prune({"kept:1", "other:2"}, {str(store.sources / "needed")})
    assert [path.name for path in store.sources.iterdir()] == ["needed"]
    assert sorted(
        path.relative_to(store.served / LIBRARY).as_posix() for path in (store.served / LIBRARY).glob("*/*")
    ) == [
        "kept/1",
        "other/2",
    ]
    assert {path.read_text() for path in store.blobs.iterdir()} == {"kept:1", "other:2", "shared"}


def blob_of_previous_digest(store: Store) -> None:
    (store.blobs / "sha256-previous").write_text("weights of a name that was made again while prune was off")


def source_of_previous_digest(store: Store) -> None:
    (store.sources / "former").mkdir(parents=True)


def prune_cut_off(store: Store) -> None:
    (store.served / LIBRARY / "other" / "1").unlink()


@pytest.mark.parametrize("leftover", [blob_of_previous_digest, source_of_previous_digest, prune_cut_off])
def test_surplus_files_are_found_and_pruned_whatever_their_origin(
    leftover: Callable[[Store], None], tmp_path: Path
) -> None:
    """Only other names were checked, so such gigabytes stayed forever."""
    model = {"names": ["kept:1"], "from": {"registry": ""}}
    (recipe,) = recipes([model]).values()
    store = served(tmp_path, "kept:1", *(["other:1"] if leftover is prune_cut_off else []), recipe=recipe)
    plan = tmp_path / "plan.json"

    def checked(*, prune: bool) -> int:
        plan.write_text(json.dumps({"program": "/no/ollama", "root": str(tmp_path), "prune": prune, "models": [model]}))
        return models.main(str(plan), "--check")

    leftover(store)
    assert (checked(prune=False), checked(prune=True)) == (0, 1)
    assert models.main(str(plan)) == 0
    assert checked(prune=True) == 0
    assert {path.read_text() for path in store.blobs.iterdir()} == {"kept:1", "shared"}
    assert list(store.sources.glob("*")) == []


@pytest.mark.parametrize("damage", ["blob", "short blob", "manifest", "other manifest"])
def test_a_damaged_model_is_incomplete(tmp_path: Path, damage: str) -> None:
    store = served(tmp_path, "base:latest")
    assert store.is_whole("base:latest", store.note(), "recipe")
    manifest = store.served / LIBRARY / "base" / "latest"
    blob = store.blobs / f"sha256-{hashlib.sha256(b'base:latest').hexdigest()}"
    if damage == "blob":
        blob.unlink()
    elif damage == "short blob":
        blob.write_text("b")
    elif damage == "manifest":
        manifest.unlink()
    else:
        manifest.write_text(json.dumps({"config": {"digest": "sha256:0", "size": 0}, "layers": []}))
    assert not store.is_whole("base:latest", store.note(), "recipe")


@pytest.mark.parametrize("lent", ["gone", "sources/contract/sha256-0"], ids=["dangling", "whole"])
def test_a_link_of_an_interrupted_run_is_replaced_by_the_fetched_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lent: str
) -> None:
    store = Store(tmp_path)
    store.prepare()
    fetched = store.sources / "contract"
    fetched.mkdir(parents=True)
    (fetched / "manifest.json").write_text("{}")
    (fetched / "sha256-0").write_text("weights")
    blob = store.blobs / "sha256-0"
    blob.symlink_to(tmp_path / lent)
    monkeypatch.setattr(builder, "_ask", lambda *_: io.BytesIO())
    with builder.Builder("/bin/true", store) as server:
        server.make({"names": ["contract"], "from": {"registry": str(fetched)}})
    assert not blob.is_symlink()
    assert blob.read_text() == "weights"


def test_missing_files_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = {"program": "/no/ollama", "root": str(tmp_path), "prune": False}
    model = {"names": ["base:latest"], "from": {"gguf": str(tmp_path / "none.gguf"), "sha256": "0"}}
    (tmp_path / "plan.json").write_text(json.dumps({**plan, "models": [model]}))
    assert models.main(str(tmp_path / "plan.json"), "--check") == 1
    assert models.main(str(tmp_path / "plan.json")) == 1
    assert f"No such file or directory: '{tmp_path}/none.gguf'" in capsys.readouterr().err


class PlayedBuilder:
    """Ollama's server: refuses the adapters in `bad`, and crashes on those in `deadly`."""

    bad: tuple[str, ...] = ()
    deadly: tuple[str, ...] = ()
    death: Exception = ConnectionResetError("reset by peer")
    starts: ClassVar[list[str]] = []

    def __init__(self, program: str, store: Store) -> None:
        self._store = store
        self.starts.append(program)

    def __enter__(self) -> "PlayedBuilder":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def make(self, model: dict[str, Any]) -> None:
        name = model["names"][0]
        if name in self.bad:
            raise ModelError(f"{name} cannot be made: unsupported architecture")
        if name in self.deadly:
            raise self.death
        content = name.encode()
        digest = hashlib.sha256(content).hexdigest()
        (self._store.blobs / f"sha256-{digest}").write_bytes(content)
        for each in model["names"]:
            manifest = self._store.building / LIBRARY / each.replace(":", "/")
            manifest.parent.mkdir(parents=True, exist_ok=True)
            manifest.write_text(
                json.dumps({"config": {"digest": f"sha256:{digest}", "size": len(content)}, "layers": []})
            )


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> type[PlayedBuilder]:
    played = type("Played", (PlayedBuilder,), {"starts": []})
    monkeypatch.setattr(models, "Builder", played)
    return played


def plan_of(tmp_path: Path, contract: int = 3, *, also: tuple[str, ...] = ()) -> str:
    """Return a plan with a base, two adapters and those in `also`."""
    for folder in ("base", f"contract{contract}", "summary", *also):
        (tmp_path / folder).mkdir(exist_ok=True)
    wanted = [
        {"names": ["base:latest"], "from": {"folder": str(tmp_path / "base")}},
        *(
            {"names": names, "from": {"model": "base:latest"}, "adapter": str(tmp_path / folder)}
            for names, folder in (
                ([f"contract:{contract}", "contract:latest"], f"contract{contract}"),
                (["summary:1", "summary:latest"], "summary"),
                *(([f"{name}:1"], name) for name in also),
            )
        ),
    ]
    plan = {"program": "/no/ollama", "root": str(tmp_path), "prune": True, "models": wanted}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    return str(tmp_path / "plan.json")


def listed(tmp_path: Path) -> list[str]:
    library = tmp_path / "models" / LIBRARY
    return sorted(":".join(path.relative_to(library).parts) for path in library.glob("*/*"))


@pytest.mark.parametrize("how", ["bad", "deadly"])
def test_an_adapter_that_cannot_be_made_is_left_out_and_the_rest_is_served(
    tmp_path: Path, play: type[PlayedBuilder], how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One such adapter stopped the first start of base and good adapters."""
    setattr(play, how, ("contract:3",))
    plan = plan_of(tmp_path)
    assert models.main(plan) == 0
    assert models.main(plan, "--check") == 0
    assert listed(tmp_path) == ["base:latest", "summary:1", "summary:latest"]
    assert models.main(plan, "--all", "--look") == 1
    assert models.main(plan, "--all") == 1
    assert "error: all others are served: contract:3 cannot be made" in capsys.readouterr().err
    setattr(play, how, ())
    assert models.main(plan, "--all") == 0
    assert models.main(plan, "--all", "--look") == 0
    assert "contract:latest" in listed(tmp_path)


@pytest.mark.parametrize("second_is_bad", [False, True])
def test_a_refused_adapter_stays_refused_when_another_one_is_added(
    tmp_path: Path, play: type[PlayedBuilder], second_is_bad: bool
) -> None:
    """A new adapter made the program forget the refused one: provision succeeded and did not serve it."""
    play.bad = ("contract:3",)
    assert models.main(plan_of(tmp_path)) == 0
    play.bad = ("contract:3", "mail:1") if second_is_bad else ("contract:3",)
    plan = plan_of(tmp_path, also=("mail",))
    assert models.main(plan, "--check") == 1
    assert models.main(plan) == 0
    assert models.main(plan, "--check") == 0
    assert set(Store(tmp_path).refused()) == {"contract:3", "contract:latest", *(["mail:1"] if second_is_bad else [])}
    assert models.main(plan, "--all", "--look") == 1
    assert models.main(plan, "--all") == 1


def test_a_refusal_of_an_adapter_that_the_plan_no_longer_lists_is_forgotten(
    tmp_path: Path, play: type[PlayedBuilder]
) -> None:
    play.bad = ("contract:3",)
    assert models.main(plan_of(tmp_path)) == 0
    plan = plan_of(tmp_path, contract=4, also=("mail",))
    assert models.main(plan) == 0
    assert Store(tmp_path).refused() == {}
    assert models.main(plan, "--all", "--look") == 0


UNREADABLE = PermissionError(13, "Permission denied", "/adapters/contract@3/a.json")


@pytest.mark.parametrize(
    ("death", "words"),
    [
        (json.JSONDecodeError("half a line", "{", 1), "Ollama broke off (half a line"),
        (IncompleteRead(b"{"), "Ollama broke off (IncompleteRead(1 bytes read"),
        (UNREADABLE, "/adapters/contract@3/a.json: Permission denied"),
    ],
    ids=["half a line", "half an answer", "a file"],
)
def test_an_adapter_that_crashes_the_server_or_is_unreadable_leaves_the_others_served(
    tmp_path: Path,
    play: type[PlayedBuilder],
    capsys: pytest.CaptureFixture[str],
    death: Exception,
    words: str,
) -> None:
    """An incomplete answer stopped the program; for an unreadable file the server was blamed and restarted."""
    play.deadly, play.death = ("contract:3",), death
    plan = plan_of(tmp_path)
    assert models.main(plan) == 0
    assert listed(tmp_path) == ["base:latest", "summary:1", "summary:latest"]
    assert len(play.starts) == (1 if death is UNREADABLE else 2)
    assert models.main(plan, "--all") == 1
    assert f"contract:3 cannot be made: {words}" in capsys.readouterr().err


@pytest.mark.parametrize("death", [json.JSONDecodeError("half a line", "{", 1), IncompleteRead(b"{")])
def test_a_base_that_crashes_the_server_is_reported_in_one_line(
    tmp_path: Path, play: type[PlayedBuilder], capsys: pytest.CaptureFixture[str], death: Exception
) -> None:
    play.deadly, play.death = ("base:latest",), death
    assert models.main(plan_of(tmp_path)) == 1
    assert capsys.readouterr().err.startswith("error: base:latest cannot be made: Ollama broke off (")


def test_a_name_keeps_its_previous_model_if_the_new_version_cannot_be_made(
    tmp_path: Path, play: type[PlayedBuilder]
) -> None:
    assert models.main(plan_of(tmp_path)) == 0
    play.bad = ("contract:4",)
    assert models.main(plan_of(tmp_path, contract=4)) == 0
    manifest = tmp_path / "models" / LIBRARY / "contract" / "latest"
    assert hashlib.sha256(b"contract:3").hexdigest() in manifest.read_text()


def test_a_base_that_cannot_be_made_stops_the_program(tmp_path: Path, play: type[PlayedBuilder]) -> None:
    play.bad = ("base:latest",)
    assert models.main(plan_of(tmp_path)) == 1
    assert listed(tmp_path) == []


def test_an_adapter_without_files_is_not_made_from_its_base_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.prepare()
    monkeypatch.setattr(builder, "_ask", lambda *_: io.BytesIO())
    with builder.Builder("/bin/true", store) as server, pytest.raises(ModelError, match="its files are missing"):
        server.make({"names": ["contract:3"], "from": {"model": "base"}, "adapter": str(tmp_path / "none")})


CHATML = "{% if not messages[0] %}{{ '<|im_start|>system\\nYou are Qwen.\\nBe brief.<|im_end|>\\n' }}{% endif %}"


@pytest.mark.parametrize(
    ("files", "prompt"),
    [
        ({"tokenizer_config.json": json.dumps({"chat_template": CHATML})}, "You are Qwen.\nBe brief."),
        (
            {"tokenizer_config.json": json.dumps({"chat_template": [{"name": "default", "template": CHATML}]})},
            "You are Qwen.\nBe brief.",
        ),
        ({"chat_template.jinja": "{{ '[|system|]You are EXAONE.[|endofturn|]' }}"}, "You are EXAONE."),
        ({"chat_template.jinja": "{{ '<|im_start|>system\\n' + date + '<|im_end|>' }}"}, ""),
        ({"chat_template.jinja": "{{ '[|system|][|endofturn|]' }}"}, ""),
        ({"tokenizer_config.json": "[]"}, ""),
        ({"tokenizer_config.json": "{"}, ""),
        ({"tokenizer_config.json": "[" * 100_000}, ""),
        ({"chat_template.jinja": "\udcff"}, ""),
        ({}, ""),
    ],
)
def test_the_default_system_prompt_is_the_chat_templates(tmp_path: Path, files: dict[str, str], prompt: str) -> None:
    """Ollama's own template for a converted model dropped it, and answers differed from the model's own."""
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))  # a lone surrogate: not UTF-8
    assert default_system(tmp_path) == prompt
