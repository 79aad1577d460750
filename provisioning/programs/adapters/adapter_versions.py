#!/usr/bin/env python3
"""Sets which adapter versions this host's engine serves, and where their aliases point. Fetches nothing.

    adapter-versions apply FOLDER PORT DESIRED         serve the versions in DESIRED; aliases stay where `move` put them
    adapter-versions check FOLDER PORT DESIRED         exit 0 if `apply` would change nothing
    adapter-versions try   FOLDER PORT VERSION BASE [PROMPT]    test that a version answers, and unlike its base
    adapter-versions move  FOLDER PORT VERSION WHO WHAT    point the version's alias at it, and record that
    adapter-versions loaded FOLDER PORT DESIRED        load again what the engine left out; exit 0 if it serves DESIRED
    adapter-versions left-out FOLDER PORT DESIRED      exit 0 if the engine left out nothing of DESIRED; load nothing
    adapter-versions show  FOLDER PORT                 print everything as JSON

FOLDER is the data folder.
DESIRED is JSON: {"versions": {"contract@3": FOLDER}, "aliases": {"contract": "contract@3"}, "keep": true, "engine": ID,
"engine_follows": true, "retire": {"summary": WHO}, "base": FOLDER, "whole": true}. With `keep`, all aliases except
retired ones stay. With `engine_follows`, the caller restarts an engine with another ID afterwards. With `whole`, a
running engine is not changed while files of a version are missing.
A starting engine reads FOLDER/adapters/served.json; a running engine gets requests (see vllm_adapters.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

ENGINE_ENV = "/etc/llm/engine.env"
PATH = "/v1/llm-deploy/adapters"
ANSWER_S = 600
"""Loading reads a version from the disk, and waits for the engine's present step."""

PROMPTS = ("Write one sentence about a contract.", "List three colours.", "1, 2, 3, 4,")
TRY_TOKENS = 16
OK, NOT_FOUND = 200, 404
SAME = "with the same STACK or INVENTORY"  # a host knows neither
PLANNED = "planned: "
"""Prefix of a line of a check that a plan shows (converge's kind `command`)."""
NONE: dict[str, Any] = {"versions": {}, "aliases": {}}
FILES = ("adapter_config.json", "adapter_model.safetensors")


class VersionError(Exception):
    """An error that the user can correct."""


class Engine:
    """The engine on this host's loopback."""

    def __init__(self, port: str) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def served(self) -> dict[str, Any] | None:
        """Return versions and aliases; None if no engine answers, or if it was started without adapters."""
        try:
            status, answer = self._ask("GET", PATH)
        except OSError:
            return None
        return answer if status == OK else None

    def serve(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Let the engine serve `wanted`; return what it then serves. Versions that its start left out may be missing.

        Raises VersionError if it cannot; then nothing has changed.
        """
        try:
            status, answer = self._ask("PUT", PATH, wanted)
        except OSError as error:
            raise VersionError(f"the engine does not answer ({getattr(error, 'reason', error)})") from error
        if status == NOT_FOUND:
            raise VersionError(
                "the engine was started without adapters; run provision, which restarts it with adapters"
            )
        if status != OK:
            raise VersionError(f"the engine refuses: {answer.get('problem') or answer}")
        return answer

    def complete(self, model: str, prompt: str) -> str:
        """Return the answer of `model` to `prompt`."""
        body = {"model": model, "prompt": prompt, "max_tokens": TRY_TOKENS, "temperature": 0}
        try:
            status, answer = self._ask("POST", "/v1/completions", body)
        except OSError as error:
            raise VersionError(f"{model} does not answer ({getattr(error, 'reason', error)})") from error
        if status != OK:
            raise VersionError(f"{model} answers {status}: {json.dumps(answer)[:200]}")
        return str(answer["choices"][0]["text"])

    def _ask(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        """Return status and content of the answer; raises OSError if there is none."""
        settings = dict(line.partition("=")[::2] for line in Path(ENGINE_ENV).read_text(encoding="utf-8").splitlines())
        headers = {"Authorization": "Bearer " + settings.get("VLLM_API_KEY", ""), "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, headers, method=method)  # noqa: S310  # loopback
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for loopback
        try:
            with opener.open(request, timeout=ANSWER_S) as answer:
                return int(answer.status), json.load(answer)
        except urllib.error.HTTPError as error:
            content = error.read().decode(errors="replace")
            try:
                return error.code, json.loads(content)
            except ValueError:
                return error.code, {"problem": content[:200]}


class Host:
    """The adapters that this host serves, from its files."""

    def __init__(self, data: str) -> None:
        self.data = Path(data)
        self._served = self.data / "adapters" / "served.json"
        self._history = self.data / "adapters" / "adapters.lock"

    def served(self) -> dict[str, Any]:
        """Return versions and aliases."""
        found = self.file()
        return {"versions": found["versions"], "aliases": found["aliases"]}

    def file(self) -> dict[str, Any]:
        """Return everything that the engine's next start reads."""
        found: dict[str, Any] = json.loads(self._served.read_text(encoding="utf-8")) if self._served.exists() else NONE
        return found

    def write(self, served: dict[str, Any], **more: Any) -> None:
        """Record versions and aliases for the engine's next start; `more` sets further keys, None removes a key."""
        content = {key: value for key, value in {**self.file(), **served, **more}.items() if value}
        part = self._served.with_name(self._served.name + ".part")
        _write(part, "w", json.dumps({**NONE, **content}, indent=1, sort_keys=True) + "\n")
        part.chmod(0o644)
        part.replace(self._served)

    def note(self, entry: dict[str, str]) -> None:
        """Add a line to the history, below a line that a power cut or a full disk left incomplete."""
        torn = self._history.exists() and self._history.read_bytes()[-1:] not in (b"", b"\n")
        _write(self._history, "a", ("\n" if torn else "") + json.dumps(entry) + "\n")

    def history(self) -> list[dict[str, Any]]:
        """Return the recorded moves (what, when, by whom), oldest first, without incomplete lines."""
        entries: list[dict[str, Any]] = []
        text = self._history.read_text(encoding="utf-8", errors="replace") if self._history.exists() else ""
        for line in text.splitlines():
            with contextlib.suppress(ValueError):
                entries.append(json.loads(line))
        return entries

    def desired(self, resource: dict[str, Any]) -> dict[str, Any]:
        """Return what to serve. With `keep`, an existing alias stays where it is, unless it is retired.

        Raises VersionError if such an alias would point at an unlisted version, or at no version.
        """
        versions, aliases = resource["versions"], dict(resource["aliases"])
        for alias, version in self.served()["aliases"].items() if resource["keep"] else ():
            if alias in aliases and version not in versions:
                raise VersionError(f"{alias} is {version}, which is no longer listed; promote another version first")
            if alias in aliases:
                aliases[alias] = version
            elif alias not in resource.get("retire", {}):
                retire = f'run `make adapters DO=apply ARGS="--retire {alias}"` {SAME}'
                raise VersionError(f"{alias} is served and no longer listed; list it again, or {retire}")
        return {"versions": versions, "aliases": aliases}


def _write(path: Path, mode: str, text: str) -> None:
    with path.open(mode, encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _entry(who: str, what: str, adapter: str, before: str, after: str) -> dict[str, str]:
    """Return a line of the history."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"time": now, "who": who, "what": what, "adapter": adapter, "from": before, "to": after}


def _changes(served: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    """Yield in words the changes that clients will notice; removals come first."""
    before, after = ({**each["versions"], **each["aliases"]} for each in (served, wanted))
    yield from (f"{name} stops being served" for name in before if name not in after)
    yield from (f"{name} is served" for name in after if name not in before)
    moved = [name for name, version in served["aliases"].items() if wanted["aliases"].get(name, version) != version]
    yield from (f"{name} becomes {wanted['aliases'][name]}" for name in moved)


def _without(served: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return `served` without `names` and all their versions."""
    versions = {each: path for each, path in served["versions"].items() if each.rpartition("@")[0] not in names}
    return {"versions": versions, "aliases": {a: v for a, v in served["aliases"].items() if a not in names}}


def _agreed(host: Host, engine: Engine, asked: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the new content of the file, and the change for the running engine (None: no change).

    An engine with other settings reads the file when it restarts. If no restart is due, only retired adapters are
    unloaded, because provision would not restart the engine otherwise; any other change then raises VersionError. So
    does a change that is not allowed.
    """
    wanted, running = host.desired(asked), engine.served()
    serving = wanted
    if running is not None and running["engine"] != asked["engine"]:
        if asked["engine_follows"]:
            return wanted, None
        if not asked.get("retire"):
            what = "the engine runs with other settings than the stack file"
            raise VersionError(f"{what}; run `make provision` first, {SAME}, which restarts it")
        wanted, serving = (_without(served, asked["retire"]) for served in (host.served(), running))
    return wanted, None if running is None or _is_served(serving, running) else serving


def _is_served(wanted: dict[str, Any], running: dict[str, Any]) -> bool:
    """Return whether an engine serves `wanted`, except versions that its start refused and reported."""
    refused = running.get("refused", {})
    versions = {name: path for name, path in wanted["versions"].items() if refused.get(name, {}).get("folder") != path}
    aliases = {alias: v if v in versions else running["aliases"].get(alias) for alias, v in wanted["aliases"].items()}
    aliases = {alias: version for alias, version in aliases.items() if version}
    kept = {v: running["versions"][v] for v in aliases.values() if v in running["versions"] and v not in versions}
    return bool(running["versions"] == {**kept, **versions} and running["aliases"] == aliases)


def apply(host: Host, engine: Engine, resource: str) -> None:
    """Serve the desired versions. Raises VersionError if the engine cannot load one; then the file does not change."""
    asked = json.loads(resource)
    wanted, serving = _agreed(host, engine, asked)
    running = engine.served()
    if asked.get("whole") and running is not None:
        _refuse_missing(wanted)
    if serving is not None:
        engine.serve(serving)
    before, base = host.served(), asked.get("base", "")
    if wanted != before or (base and base != host.file().get("base")):
        # If a start cannot load the new version of a name, it returns to the version that answers now.
        is_same_base = host.file().get("base", base) == base
        former = {key: (running or before)[key] for key in NONE} if serving is None and is_same_base else None
        host.write(wanted, base=base, former=former if former and former["aliases"] else None)
    for name, who in asked.get("retire", {}).items():
        if name in before["aliases"]:
            host.note(_entry(who, "retire", name, before["aliases"][name], ""))


def _refuse_missing(wanted: dict[str, Any]) -> None:
    """Raise VersionError if files of a version are missing: the running engine would lose what it serves."""
    for name, folder in wanted["versions"].items():
        if not all(Path(folder, file).is_file() for file in FILES):
            raise VersionError(f"the files of {name} are missing; the served versions stay until they arrive")


def loaded(host: Host, engine: Engine, resource: str) -> None:
    """Let the engine load again what its start left out. Raises VersionError for versions that it still refuses."""
    asked = json.loads(resource)
    if _left_out(engine.served(), asked):
        wanted = {"versions": asked["versions"], "aliases": {**asked["aliases"], **host.desired(asked)["aliases"]}}
        _report(_left_out(engine.serve(wanted), asked))


def left_out(_host: Host, engine: Engine, resource: str) -> None:
    """Raise VersionError if the engine's start left out a desired version; print lines for a plan."""
    refused = _left_out(engine.served(), json.loads(resource))
    for name, problem in refused.items():
        print(f"{PLANNED}load {name} again; the engine refused it: {problem}")
    _report(refused)


def _left_out(running: dict[str, Any] | None, asked: dict[str, Any]) -> dict[str, str]:
    """Return the desired versions that the engine refused, each with its reason on one line."""
    refused = (running or {}).get("refused", {})
    return {name: " ".join(refused[name]["problem"].split()) for name in asked["versions"] if name in refused}


def _report(refused: dict[str, str]) -> None:
    if refused:
        reasons = "; ".join(f"{name}: {problem}" for name, problem in refused.items())
        raise VersionError(f"the engine refuses some adapters and serves all others: {reasons}")


def check(host: Host, engine: Engine, resource: str) -> None:
    """Raise VersionError if `apply` would change something, or fail; print that as lines for a plan."""
    asked = json.loads(resource)
    try:
        wanted, serving = _agreed(host, engine, asked)
    except VersionError as error:
        print(f"{PLANNED}fail: {error}")
        raise
    for change in _changes(host.served(), wanted):
        print(f"{PLANNED}{change}")
    if wanted != host.served() or serving is not None:
        raise VersionError("the served adapters differ from the listed ones")


def try_version(_host: Host, engine: Engine, version: str, base: str, listed: str = "") -> None:
    """Raise VersionError unless `version` answers, and differently from its base: it is loaded and has an effect."""
    prompts = (listed,) if listed else PROMPTS
    for prompt in prompts:
        answer = engine.complete(version, prompt)
        if not answer:
            raise VersionError(f"{version} gives an empty answer")
        if answer != engine.complete(base, prompt):
            return
    tried, other = ("the listed prompt", "another") if listed else (f"{len(PROMPTS)} built-in prompts", "a")
    hint = f"list {other} `prompt` that the two answer differently"
    raise VersionError(f"{version} begins its answers like {base}, on {tried}; {hint}")


def move(host: Host, engine: Engine, version: str, who: str, what: str) -> None:
    """Point the alias at `version`; print the result as JSON. Raises VersionError; then nothing has moved."""
    served, alias = host.served(), version.rpartition("@")[0]
    if version not in served["versions"]:
        raise VersionError(f"{version} is not served here; run `make adapters DO=apply` first, {SAME}")
    before = served["aliases"].get(alias, "")
    wanted = {**served, "aliases": {**served["aliases"], alias: version}}
    began = time.monotonic()
    answer = engine.serve(wanted)
    if answer["aliases"].get(alias) != version:
        refused = answer.get("refused", {}).get(version, {}).get("problem", "it does not say why")
        raise VersionError(f"the engine refuses {version}: {' '.join(refused.split())}")
    entry = _entry(who, what, alias, before, version)
    try:
        host.write(wanted)
        if before != version:
            host.note(entry)
    except OSError as error:
        _undo(host, engine, served)
        raise VersionError(f"cannot record the move of {alias} ({error.strerror}); it did not move") from error
    print(json.dumps({**entry, "seconds": round(time.monotonic() - began, 3)}))


def _undo(host: Host, engine: Engine, served: dict[str, Any]) -> None:
    """Restore `served` in engine and file. The file is written only if it differs: the disk may be full."""
    try:
        engine.serve(served)
    finally:
        if host.served() != served:
            host.write(served)


def show(host: Host, engine: Engine) -> None:
    """Print everything as JSON."""
    print(json.dumps({"served": host.served(), "running": engine.served(), "history": host.history()}))


COMMANDS = {
    "apply": apply,
    "check": check,
    "loaded": loaded,
    "left-out": left_out,
    "try": try_version,
    "move": move,
    "show": show,
}


def main(command: str, data: str, port: str, *words: str) -> int:
    """Run one command at a time on a host; return the exit status."""
    folder = Path(data, "adapters")
    if not folder.is_dir() and command != "show":
        print("error: this host has never had adapters; run provision", file=sys.stderr)
        return 1
    with contextlib.ExitStack() as stack:
        if folder.is_dir():
            fcntl.flock(stack.enter_context((folder / ".lock").open("w", encoding="utf-8")), fcntl.LOCK_EX)
        try:
            COMMANDS[command](Host(data), Engine(port), *words)  # type: ignore[operator]
        except VersionError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
