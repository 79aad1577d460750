"""The plugin in vLLM: what a start serves if some adapters cannot be loaded. vLLM and FastAPI are doubles."""

import asyncio
import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from core.paths import CHECKOUT
from provisioning.roles.engine.engine import LEFT_OUT
from tools.tiny_model import make_tiny_model


class PlayedModels:
    """vLLM's table of adapters: refuses those whose folder is in `bad`."""

    def __init__(self, *bad: str) -> None:
        self.bad = bad
        self.lora_requests: dict[str, Any] = {}
        self.base_model_paths = [SimpleNamespace(model_path="/no/base")]
        self.engine_client = SimpleNamespace(errored=False)
        self.tried: list[str] = []

    async def load_lora_adapter(self, request: SimpleNamespace) -> Any:
        self.tried.append(request.lora_name)
        if request.lora_path in ("ends", "ends, with an answer"):
            self.engine_client.errored = True
            if request.lora_path == "ends":
                await asyncio.Event().wait()
            return SimpleNamespace(error=SimpleNamespace(message="EngineCore encountered an issue"))
        if request.lora_path in self.bad:
            return SimpleNamespace(error=SimpleNamespace(message=f"{request.lora_path} is unfit"))
        if request.lora_path == "raises":
            raise RuntimeError("is odd")
        self.lora_requests[request.lora_name] = SimpleNamespace(lora_path=request.lora_path)
        return "Success"


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    modules = {name: ModuleType(name) for name in ("fastapi", "fastapi.responses", "vllm", "vllm.entrypoints")}
    names = ("vllm.entrypoints.serve", "vllm.entrypoints.serve.lora", "vllm.entrypoints.serve.lora.protocol")
    modules |= {name: ModuleType(name) for name in names}
    vars(modules["fastapi"])["Request"] = object
    vars(modules["fastapi.responses"])["JSONResponse"] = lambda content, status=200: (status, content)
    vars(modules[names[-1]])["LoadLoRAAdapterRequest"] = SimpleNamespace
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("LLM_DEPLOY_ADAPTERS", str(tmp_path / "served.json"))
    monkeypatch.delitem(sys.modules, "provisioning.programs.adapters.vllm_adapters", raising=False)
    from provisioning.programs.adapters.vllm_adapters import Adapters

    monkeypatch.setattr("provisioning.programs.adapters.vllm_adapters.LIB", CHECKOUT / "provisioning/programs/fetch")
    monkeypatch.setattr("provisioning.programs.adapters.vllm_adapters.LOOK_S", 0.001)
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    return Adapters()


def start(plugin: Any, models: PlayedModels, tmp_path: Path, **served: Any) -> dict[str, Any]:
    """Start the engine, and return its list of served models."""
    (tmp_path / "served.json").write_text(json.dumps(served))
    asyncio.run(plugin.init_state(None, SimpleNamespace(openai_serving_models=models), None))
    return shown(plugin)


def shown(plugin: Any) -> dict[str, Any]:
    status, content = asyncio.run(plugin.show())
    assert status == 200
    return dict(content)


def put(plugin: Any, **wanted: Any) -> tuple[int, dict[str, Any]]:
    async def body() -> dict[str, Any]:
        return wanted

    status, content = asyncio.run(plugin.change(SimpleNamespace(json=body)))
    return status, content


BOTH = {"a@1": "A1", "b@1": "B1"}
NAMES = {"a": "a@1", "b": "b@1"}


def test_a_start_leaves_out_bad_adapters_and_serves_the_rest(plugin: Any, tmp_path: Path) -> None:
    """One such adapter stopped the start: base and good adapters were down."""
    models = PlayedModels("A1")
    said = start(plugin, models, tmp_path, versions=BOTH, aliases=NAMES)
    assert said["versions"] == {"b@1": "B1"}
    assert said["aliases"] == {"b": "b@1"}
    assert said["refused"] == {"a@1": {"folder": "A1", "problem": "A1 is unfit"}}
    assert set(models.lora_requests) == {"b", "b@1"}


def test_any_exception_for_one_adapter_leaves_the_others_served(plugin: Any, tmp_path: Path) -> None:
    said = start(plugin, PlayedModels(), tmp_path, versions={**BOTH, "c@1": "raises"}, aliases=NAMES)
    assert said["refused"] == {"c@1": {"folder": "raises", "problem": "is odd"}}
    assert said["aliases"] == NAMES


@pytest.mark.parametrize("bad", [("A2",), ("A2", "A1")])
def test_an_alias_keeps_its_previous_version_if_the_new_one_cannot_be_loaded(
    plugin: Any, tmp_path: Path, bad: tuple[str, ...]
) -> None:
    former = {"versions": {"a@1": "A1"}, "aliases": {"a": "a@1"}}
    versions = {"a@2": "A2", "b@1": "B1"}
    said = start(plugin, PlayedModels(*bad), tmp_path, versions=versions, aliases={"a": "a@2"}, former=former)
    assert said["aliases"] == ({"a": "a@1"} if bad == ("A2",) else {})
    assert "a@2" in said["refused"]
    assert "b@1" in said["versions"]


def test_nothing_changes_when_a_new_version_cannot_be_loaded(plugin: Any, tmp_path: Path) -> None:
    before = start(plugin, PlayedModels("A2"), tmp_path, versions=BOTH, aliases=NAMES)
    assert put(plugin, versions={**BOTH, "a@2": "A2"}, aliases={**NAMES, "a": "a@2"}) == (
        409,
        {"problem": "A2 is unfit"},
    )
    assert shown(plugin) == before


def test_a_left_out_version_blocks_no_change_and_is_tried_again(plugin: Any, tmp_path: Path) -> None:
    models = PlayedModels("A1")
    start(plugin, models, tmp_path, versions=BOTH, aliases=NAMES)
    status, said = put(plugin, versions={**BOTH, "c@1": "C1"}, aliases={**NAMES, "c": "c@1"})
    assert (status, said["aliases"], list(said["refused"])) == (200, {"b": "b@1", "c": "c@1"}, ["a@1"])
    models.bad = ()
    status, said = put(plugin, versions=BOTH, aliases=NAMES)
    assert (status, said["versions"], said["aliases"], said["refused"]) == (200, BOTH, NAMES, {})


def test_an_adapter_of_other_sizes_is_left_out_even_if_vllm_would_load_it(plugin: Any, tmp_path: Path) -> None:
    """vLLM copies smaller matrices into a corner, and answers nonsense."""
    llama, exaone = (make_tiny_model(shape, tmp_path / shape) for shape in ("llama", "exaone"))
    versions = {"a@1": str(llama.adapter("a")), "b@1": str(exaone.adapter("a"))}
    models = PlayedModels()
    models.base_model_paths[0].model_path = str(llama.base)
    said = start(plugin, models, tmp_path, versions=versions, aliases={"a": "a@1", "b": "b@1"})
    assert said["aliases"] == {"a": "a@1"}
    assert said["refused"]["b@1"]["problem"].startswith("was trained on another base model: the base has no ")


@pytest.mark.parametrize("end", ["ends", "ends, with an answer"])
def test_a_version_that_ended_the_engine_is_left_out_by_the_next_starts(plugin: Any, tmp_path: Path, end: str) -> None:
    """vLLM waited forever for an ended engine, and each start would have tried the same adapter."""
    served = {"versions": {"a@1": end, "b@1": "B1"}, "aliases": NAMES}
    with pytest.raises(Exception, match="the engine ended while it loaded this adapter"):
        start(plugin, PlayedModels(), tmp_path, **served)
    for _ in range(2):
        again, models = type(plugin)(), PlayedModels()
        said = start(again, models, tmp_path, **served)
        assert (said["aliases"], models.tried) == ({"b": "b@1"}, ["b@1"])
        assert said["refused"]["a@1"]["problem"].startswith("the engine ended while it loaded this adapter")


def test_each_adapter_that_ends_the_engine_costs_one_start(
    plugin: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two such adapters ended the engine twice; the provision failed, and the next one tried the first one again."""
    versions = {"a@1": "ends", "b@1": "ends", "c@1": "C1"}
    for name in ("a@1", "b@1"):
        with pytest.raises(Exception, match="the engine ended while it loaded this adapter"):
            start(type(plugin)(), PlayedModels(), tmp_path, versions=versions, aliases={})
        assert re.findall(LEFT_OUT, capsys.readouterr().out)[-1] == name
    models = PlayedModels()
    assert list(start(plugin, models, tmp_path, versions=versions, aliases={})["refused"]) == ["a@1", "b@1"]
    assert set(re.findall(LEFT_OUT, capsys.readouterr().out)) == {"a@1", "b@1"}
    status, said = put(plugin, versions=versions, aliases={})
    assert (status, list(said["refused"]), models.tried) == (200, ["a@1", "b@1"], ["c@1"])


def test_a_version_that_ended_the_engine_is_tried_again_on_request(
    plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioning.programs.adapters.vllm_adapters.REST_S", 0)
    served = {"versions": {"a@1": "A1", "b@1": "B1"}, "aliases": NAMES}
    (tmp_path / "adapters-being-loaded.json").write_text('{"a@1": "A1", "c@1": "C1"}')
    assert list(start(plugin, PlayedModels(), tmp_path, **served)["refused"]) == ["a@1"]
    status, said = put(plugin, **served)
    assert (status, said["aliases"], said["refused"]) == (200, NAMES, {})
    again = type(plugin)()
    assert start(again, PlayedModels(), tmp_path, **served)["refused"] == {}


def test_a_change_that_ends_the_engine_is_reported_and_the_next_start_leaves_it_out(
    plugin: Any, tmp_path: Path
) -> None:
    start(plugin, PlayedModels(), tmp_path, versions=BOTH, aliases=NAMES)
    status, said = put(plugin, versions={**BOTH, "a@2": "ends"}, aliases=NAMES)
    assert (status, said["problem"].partition(";")[0]) == (409, "a@2: the engine ended while it loaded this adapter")
    again = type(plugin)()
    assert list(start(again, PlayedModels(), tmp_path, versions={"a@2": "ends"}, aliases={})["refused"]) == ["a@2"]


@pytest.mark.parametrize("noted", ["", "[]", "{", '{"a@1": 1}', '{"a@1": "A0"}', "\ud800"])
def test_a_record_of_another_version_leaves_nothing_out(plugin: Any, tmp_path: Path, noted: str) -> None:
    (tmp_path / "adapters-being-loaded.json").write_bytes(noted.encode(errors="surrogatepass"))
    assert start(plugin, PlayedModels(), tmp_path, versions=BOTH, aliases=NAMES)["refused"] == {}


def test_a_stop_while_an_adapter_is_loaded_does_not_blame_it(plugin: Any, tmp_path: Path) -> None:
    models = PlayedModels()

    async def stopped(_request: object) -> None:
        raise asyncio.CancelledError

    models.load_lora_adapter = stopped  # type: ignore[method-assign, assignment]
    with pytest.raises(asyncio.CancelledError):
        start(plugin, models, tmp_path, versions=BOTH, aliases=NAMES)
    assert start(type(plugin)(), PlayedModels(), tmp_path, versions=BOTH, aliases=NAMES)["refused"] == {}


def test_a_start_continues_if_nothing_can_be_recorded(
    plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("", str(tmp_path / "none")):
        monkeypatch.setenv("CACHE_DIRECTORY", folder)
        assert start(type(plugin)(), PlayedModels(), tmp_path, versions=BOTH, aliases=NAMES)["aliases"] == NAMES
