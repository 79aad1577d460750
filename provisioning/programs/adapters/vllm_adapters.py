"""Adapter versions and aliases of a running vLLM 0.32: an endpoint plugin that runs inside the engine.

    GET /v1/llm-deploy/adapters    what is served, what was refused and why, and LLM_DEPLOY_ENGINE, the ID of this start
    PUT /v1/llm-deploy/adapters    {"versions": {"contract@3": FOLDER}, "aliases": {"contract": "contract@3"}}:
                                   serve this from now on; nothing changes if a new version cannot be loaded
    GET /v1/models                 vLLM's list, with the aliases

vLLM looks an adapter up by name once for each request. An alias is a second key of that table: it moves in one step
between two requests, running requests keep their version, and no weights are loaded twice. LLM_DEPLOY_ADAPTERS names
the file with what a start serves. If vLLM refuses a version at a start, it is left out and reported, and the rest is
served; its alias points to the previous version (`former` in the file), if that can be loaded. A version that ended the
engine while it was loaded is recorded in a file: later starts leave it out untried, and a PUT tries it again, except
right after the start. Decides nothing else: see adapter_versions.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Request  # type: ignore[import-not-found]  # at module level: FastAPI looks annotations up here
from fastapi.responses import JSONResponse  # type: ignore[import-not-found]
from vllm.entrypoints.serve.lora.protocol import LoadLoRAAdapterRequest  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "/v1/llm-deploy/adapters"
"""Below /v1, so that vLLM requires its key."""


LOOK_S = 1
"""How often to check during a load whether the engine still runs."""

REST_S = 60
"""How long after a start a PUT also leaves out versions that ended the engine. The provision that waited for the start
sends all adapters next, and each such version would end the engine again."""

ENDED = "the engine ended while it loaded this adapter; look at its journal, and bring a version that it can load"

LIB = Path(__file__).resolve().parent.parent
"""Folder of this project's programs on a host; llm_fetch has the rules."""


def _misfit(folder: str, base: str) -> str:
    """Return why the tensors in `folder` do not fit the base model's; empty if they cannot be compared."""
    if str(LIB) not in sys.path:
        sys.path.append(str(LIB))
    try:
        from llm_fetch.adapter import misfit  # type: ignore[import-not-found]

        return str(misfit(folder, base))
    except Exception as error:  # vLLM decides; a failed comparison must not leave out a good adapter
        print(f"llm_deploy_adapters: {folder} is not compared with its base: {error}", flush=True)
        return ""


class EngineEndedError(Exception):
    """The engine ended while it loaded an adapter."""


class Note:
    """The versions that were being loaded when the engine ended: a file in the unit's cache folder, which survives."""

    def __init__(self) -> None:
        folder = os.environ.get("CACHE_DIRECTORY", "").partition(":")[0]
        self._path = Path(folder, "adapters-being-loaded.json") if folder else None

    def read(self) -> dict[str, str]:
        """Return folders by version; empty if nothing is recorded, or if the file is incomplete."""
        try:
            noted = json.loads(self._path.read_bytes()) if self._path else {}
        except (OSError, ValueError):
            return {}
        return {str(name): str(folder) for name, folder in noted.items()} if isinstance(noted, dict) else {}

    def add(self, name: str, folder: str) -> None:
        """Record that a version is about to be loaded."""
        self._write({**self.read(), name: folder})

    def remove(self, name: str) -> None:
        """Record that the engine survived loading a version."""
        self._write({known: folder for known, folder in self.read().items() if known != name})

    def _write(self, noted: Mapping[str, str]) -> None:
        """Replace the file. If that fails, only log it: a start may then retry a version that ended the last one."""
        if self._path is None:
            return
        part = self._path.with_name(self._path.name + ".part")
        try:
            with part.open("w", encoding="utf-8") as stream:
                json.dump(noted, stream)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(self._path)
        except OSError as error:
            print(f"llm_deploy_adapters: cannot write {self._path}: {error}", flush=True)


class Adapters:
    """The plugin: vLLM attaches its routes, then hands it the engine's state."""

    name = "llm_deploy_adapters"
    required_tasks = ("generate",)

    def __init__(self) -> None:
        self._models: Any = None
        self._aliases: dict[str, str] = {}
        self._loaded: dict[str, Any] = {}
        """Every version since the start. A version that is served again gets its old number: vLLM treats two adapters
        with one name as one adapter, and an engine that computes both would end."""
        self._refused: dict[str, dict[str, str]] = {}
        """Versions that a start left out: folder and vLLM's reason."""
        self._noted: dict[str, str] = {}
        """Versions that ended the engine; kept until REST_S after the start that left them out."""
        self._started = 0.0
        self._note = Note()
        self._lock = asyncio.Lock()

    def attach_router(self, app: Any) -> None:
        """Add the routes."""
        app.add_api_route(PATH, self.show, methods=["GET"])
        app.add_api_route(PATH, self.change, methods=["PUT"])
        app.add_api_route("/v1/models", self.list_models, methods=["GET"])

    async def init_state(self, _engine: Any, state: Any, _args: Any) -> None:
        """Load the adapters of the file, except those that vLLM refuses: one bad adapter must not stop the others.

        Raises EngineEndedError if the engine ends meanwhile; systemd restarts it, and the record names the adapter.
        """
        self._models = state.openai_serving_models
        wanted = json.loads(Path(os.environ["LLM_DEPLOY_ADAPTERS"]).read_text(encoding="utf-8"))
        async with self._lock:
            self._noted = self._note.read()
            for name, folder in wanted["versions"].items():
                await self._try(name, folder)
            former = wanted.get("former") or {"versions": {}, "aliases": {}}
            aliases = {}
            for alias, version in wanted["aliases"].items():
                before = former["aliases"].get(alias)
                if version in self._loaded:
                    aliases[alias] = version
                elif before in former["versions"] and await self._try(before, former["versions"][before]):
                    aliases[alias] = before
            self._started = time.monotonic()
            names = {*wanted["versions"], *aliases.values()}
            self._set({name: self._loaded[name] for name in names if name in self._loaded}, aliases)

    async def show(self) -> Any:
        """Answer what is served."""
        return JSONResponse(self._served())

    async def change(self, request: Request) -> Any:
        """Serve the versions and aliases of the body."""
        wanted = await request.json()
        problem = await self.serve(wanted["versions"], wanted["aliases"])
        return JSONResponse({"problem": problem}, 409) if problem else JSONResponse(self._served())

    async def list_models(self) -> Any:
        """Answer as vLLM does, plus the aliases: each has its version as parent."""
        listed = await self._models.show_available_models()
        # vLLM lists a version once per name.
        cards = {card.id: card for card in listed.data}
        for alias, version in self._aliases.items():
            cards[alias] = cards[version].model_copy(update={"id": alias, "parent": version})
        return JSONResponse(listed.model_copy(update={"data": list(cards.values())}).model_dump())

    async def serve(self, versions: Mapping[str, str], aliases: Mapping[str, str]) -> str:
        """Serve exactly these; on failure change nothing and return the reason.

        Versions that the start refused are tried again. If refused again, they stay unserved and the alias does not
        move.
        """
        async with self._lock:
            if time.monotonic() - self._started >= REST_S:
                self._noted = {}
            for name, folder in versions.items():
                known = self._refused.get(name, {}).get("folder") == folder
                try:
                    is_loaded = await self._try(name, folder)
                except EngineEndedError as error:
                    return f"{name}: {error}"
                if not is_loaded and not known:
                    return self._refused.pop(name)["problem"]
            self._refused = {name: self._refused[name] for name in versions if name in self._refused}
            meant = {alias: v if v in self._loaded else self._aliases.get(alias) for alias, v in aliases.items()}
            means = {alias: version for alias, version in meant.items() if version}
            names = [name for name in {**versions, **dict.fromkeys(means.values())} if name not in self._refused]
            self._set({name: self._loaded[name] for name in names}, means)
            return ""

    async def _try(self, name: str, folder: str) -> bool:
        """Return whether version `name` is loaded; if not, record why. Raises EngineEndedError."""
        try:
            problem = ENDED if self._noted.get(name) == folder else await self._load(name, folder)
        except EngineEndedError:
            raise
        except Exception as error:  # serve the others, whatever vLLM raises for this one
            problem = str(error) or type(error).__name__
        if problem:
            self._refused[name] = {"folder": folder, "problem": problem}
            print(f"llm_deploy_adapters: {name} is left out: {problem}", flush=True)
            return False
        self._refused.pop(name, None)
        return True

    async def _load(self, name: str, folder: str) -> str:
        """Load version `name` if needed; return why that failed, else an empty string."""
        if name in self._loaded:
            known = self._loaded[name].lora_path
            return "" if known == folder else f"{name} is {known} already and never changes"
        problem = await asyncio.to_thread(_misfit, folder, self._models.base_model_paths[0].model_path)
        if problem:
            return problem
        self._note.add(name, folder)
        try:
            answer = await self._answer(LoadLoRAAdapterRequest(lora_name=name, lora_path=folder))
        except EngineEndedError:
            print(f"llm_deploy_adapters: {name}: {ENDED}", flush=True)
            raise
        except BaseException:  # also a stop of the unit: do not blame the adapter
            self._note.remove(name)
            raise
        self._note.remove(name)
        if not isinstance(answer, str):
            return str(answer.error.message)
        # not served before all others are loaded
        self._loaded[name] = self._models.lora_requests.pop(name)
        return ""

    async def _answer(self, request: Any) -> Any:
        """Return vLLM's answer to a new adapter. Raises EngineEndedError if the engine ends: vLLM would hang."""
        loading = asyncio.ensure_future(self._models.load_lora_adapter(request))
        try:
            while not (await asyncio.wait({loading}, timeout=LOOK_S))[0]:
                self._refuse_ended()
        finally:
            loading.cancel()
        self._refuse_ended()
        return loading.result()

    def _refuse_ended(self) -> None:
        if self._models.engine_client.errored:
            raise EngineEndedError(ENDED)

    def _set(self, versions: Mapping[str, Any], aliases: dict[str, str]) -> None:
        """Change the table without awaiting, so that no request sees half of a change."""
        table = self._models.lora_requests
        wanted = {**versions, **{alias: versions[version] for alias, version in aliases.items()}}
        for name in set(table) - set(wanted):
            del table[name]
        table.update(wanted)
        self._aliases = aliases

    def _served(self) -> dict[str, Any]:
        versions = {
            name: request.lora_path for name, request in self._models.lora_requests.items() if name not in self._aliases
        }
        engine = os.environ.get("LLM_DEPLOY_ENGINE", "")
        return {"versions": versions, "aliases": self._aliases, "refused": self._refused, "engine": engine}
