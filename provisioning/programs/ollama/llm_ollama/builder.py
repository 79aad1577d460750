"""An Ollama server that makes models and has no clients."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from .default_system import default_system
from .recipes import files_of, sha256_of
from .rotary import WEIGHTS, Heads, rewrite
from .store import LIBRARY, ModelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .store import Store

ADDRESS = "127.0.0.1:11434"
START_S = 60
POLL_S = 0.1
LOG_LINES = 15
SPARE_BYTES = 1 << 30
GIB = float(1 << 30)


class Builder:
    """An Ollama server that works in the building folder."""

    def __init__(self, program: str, store: Store) -> None:
        self._store = store
        self._log = store.building / "server.log"
        self._temporary: list[Path] = []
        environment = {
            "HOME": str(store.building),
            "PATH": os.defpath,
            "OLLAMA_HOST": ADDRESS,
            "OLLAMA_MODELS": str(store.building),
            "OLLAMA_NOPRUNE": "1",
            "OLLAMA_NO_CLOUD": "1",
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([program, "serve"], env=environment, stdout=log, stderr=log)

    def __enter__(self) -> Builder:
        deadline = time.monotonic() + START_S
        while True:
            try:
                _ask("/api/version").close()
                return self
            except (OSError, HTTPException):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    raise ModelError("Ollama does not start: " + self._last_words()) from None
                time.sleep(POLL_S)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        for path in self._temporary:
            if path.is_symlink():
                path.unlink()
        shutil.rmtree(str(self._store.building / "rewritten"), ignore_errors=True)

    def make(self, model: dict[str, Any]) -> None:
        """Create a model under all its names. Raises ModelError with Ollama's reason."""
        name, *aliases = model["names"]
        request = {"model": name, **self._source(model["from"]), **model.get("settings", {})}
        if "folder" in model["from"] and not {"system", "template"} & request.keys():
            # Ollama's own template for the model has no default prompt.
            system = default_system(Path(model["from"]["folder"]))
            request.update({"system": system} if system else {})
        if model.get("adapter"):
            files = files_of(Path(model["adapter"]))
            if not any(path.name.endswith(".safetensors") for path in files):
                raise ModelError(f"{name} cannot be made: its files are missing")
            request["adapters"] = self._adapter(files, Path(model["adapter"]), model["from"]["model"])
        with _ask("/api/create", request) as answer:
            for line in answer:
                said = json.loads(line)
                if "error" in said:
                    raise ModelError("{} cannot be made: {}".format(name, said["error"]))
                print("{}: {}".format(name, said.get("status", "")), flush=True)
        library = self._store.building / LIBRARY
        for alias in aliases:
            target = library / alias.replace(":", "/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(library / name.replace(":", "/")), str(target))

    def _source(self, source: dict[str, str]) -> dict[str, Any]:
        if "model" in source:
            return {"from": source["model"]}
        if "folder" in source:
            files = files_of(Path(source["folder"]))
            self._check_space(2 * sum(path.stat().st_size for path in files))  # the converted file, and its blob
            return {"files": self._lend(files)}
        if "registry" in source:
            return {"from": self._take(Path(source["registry"]))}
        return {"files": {"model.gguf": self._copy(Path(source["gguf"]), source["sha256"])}}

    def _adapter(self, files: list[Path], folder: Path, base: str) -> dict[str, str]:
        """Provide an adapter's files, the weights as Ollama needs them (rotary.py); return their digests by name."""
        with _ask("/api/show", {"model": base}) as answer:
            heads = Heads.of(json.load(answer).get("model_info") or {})
        self._check_space(sum(path.stat().st_size for path in files))
        rewritten = self._store.building / "rewritten" / WEIGHTS
        rewritten.parent.mkdir(exist_ok=True)
        if rewrite(folder, rewritten, heads):
            files = [rewritten if path.name == WEIGHTS else path for path in files]
        return self._lend(files)

    def _lend(self, files: list[Path]) -> dict[str, str]:
        """Provide the files as blobs during their conversion; return their digests by name."""
        digests = {}
        for path in files:
            digest = sha256_of(path)
            digests[path.name] = "sha256:" + digest
            blob = self._store.blobs / ("sha256-" + digest)
            if blob.is_symlink():
                blob.unlink()  # left by an interrupted run
            if not blob.exists():
                blob.symlink_to(path)
                self._temporary.append(blob)
        return digests

    def _take(self, folder: Path) -> str:
        """Import a model fetched from a registry, which is not served itself; return its name."""
        for path in folder.glob("sha256-*"):
            blob = self._store.blobs / path.name
            if blob.is_symlink():
                blob.unlink()  # lent by an interrupted run
            if not blob.is_file():
                os.link(str(path), str(blob))  # a second copy could fill the disk
        name = "source-" + folder.name
        manifest = self._store.building / LIBRARY / name / "latest"
        manifest.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(folder / "manifest.json"), str(manifest))
        return name

    def _copy(self, path: Path, sha256: str) -> str:
        """Import a GGUF file, which becomes a blob unchanged; return its digest."""
        blob = self._store.blobs / ("sha256-" + sha256)
        if not blob.is_file():
            self._check_space(path.stat().st_size)
            part = blob.with_name(blob.name + ".part")
            shutil.copyfile(str(path), str(part))
            found = sha256_of(part)
            if found != sha256:
                part.unlink()
                raise ModelError(f"{path} has SHA-256 {found}, not {sha256}, which the stack file pins")
            part.replace(blob)
        return "sha256:" + sha256

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(str(self._store.root)).free
        if needed + SPARE_BYTES > free:
            raise ModelError(
                f"making the model needs {needed / GIB:.1f} GiB in {self._store.root} and {free / GIB:.1f} are free; "
                "give the host a larger disk"
            )

    def _last_words(self) -> str:
        return " / ".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])


def _ask(path: str, body: object = None) -> Any:
    """Return the answer of our own server."""
    data = None if body is None else json.dumps(body).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return opener.open(urllib.request.Request("http://" + ADDRESS + path, data=data))  # loopback
    except urllib.error.HTTPError as error:
        raise ModelError("Ollama answers {}: {}".format(error.code, error.read().decode(errors="replace"))) from error
