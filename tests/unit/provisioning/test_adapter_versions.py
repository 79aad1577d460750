"""The program on the host that keeps versions and aliases, run against an engine that does as the plugin does."""

import errno
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from provisioning.programs import adapter_versions

ALIKE = "begins its answers as base does, on"
V3, V4 = "/data/adapters/contract@3", "/data/adapters/contract@4"
THREE: dict[str, Any] = {"versions": {"contract@3": V3}, "aliases": {"contract": "contract@3"}}
BOTH: dict[str, Any] = {"versions": {"contract@3": V3, "contract@4": V4}, "aliases": {"contract": "contract@3"}}


class Engine(ThreadingHTTPServer):
    """What it serves, what it refuses, and what each model answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.served: dict[str, Any] | None = {"versions": {}, "aliases": {}}
        self.id = "one"
        self.problem = ""
        self.answers = {"base": "one", "contract@3": "two", "contract@4": "three"}


class _Handler(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        served = self.server.served
        self._send(404 if served is None else 200, {**(served or {}), "engine": self.server.id})

    def do_PUT(self) -> None:
        wanted = self._body()
        if self.server.served is None:
            self._send(404, {})
        elif self.server.problem:
            self._send(409, {"problem": self.server.problem})
        else:
            self.server.served = wanted
            self._send(200, wanted)

    def do_POST(self) -> None:
        asked = self._body()
        model = asked["model"]
        known = self.server.answers
        self._send(200, {"choices": [{"text": known.get(f"{model}: {asked['prompt']}", known[model])}]})

    def _body(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return content

    def _send(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the test's output is the test's."""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    (tmp_path / "engine.env").write_text("VLLM_API_KEY=sample\n")
    monkeypatch.setattr(adapter_versions, "ENGINE_ENV", str(tmp_path / "engine.env"))
    server = Engine()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Host:
    """A host with a data folder."""

    def __init__(self, data: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self.port = str(engine.server_port)
        self._capsys = capsys
        (data / "adapters").mkdir(parents=True)

    def run(self, command: str, *words: str) -> tuple[int, str]:
        """Return exit status and what was printed, errors last."""
        status = adapter_versions.main(command, str(self.data), self.port, *words)
        said = self._capsys.readouterr()
        return status, (said.out + said.err).strip()

    def wish(
        self,
        command: str,
        served: dict[str, Any],
        *,
        keep: bool = True,
        engine: str = "one",
        engine_follows: bool = True,
    ) -> tuple[int, str]:
        return self.run(
            command, json.dumps({**served, "keep": keep, "engine": engine, "engine_follows": engine_follows})
        )

    @property
    def served(self) -> dict[str, Any] | None:
        """What a start of the engine would serve."""
        path = self.data / "adapters" / "served.json"
        return json.loads(path.read_text()) if path.exists() else None


@pytest.fixture
def host(tmp_path: Path, engine: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(adapter_versions, "UNITS", tmp_path)
    monkeypatch.setattr(adapter_versions, "RELEASE_NOTES", tmp_path)
    return Host(tmp_path / "data", engine, capsys)


def test_a_wish_reaches_the_engine_and_the_file_that_its_next_start_reads(host: Host, engine: Engine) -> None:
    assert host.wish("check", THREE)[0] == 1
    assert host.wish("apply", THREE) == (0, "")
    assert engine.served == host.served == THREE
    assert host.wish("check", THREE) == (0, "")


def test_without_an_engine_the_file_is_written_for_its_first_start(host: Host) -> None:
    host.port = "1"
    assert host.wish("apply", THREE) == (0, "")
    assert host.served == THREE
    assert host.wish("check", THREE) == (0, "")


def test_an_engine_that_lost_its_adapters_is_told_again(host: Host, engine: Engine) -> None:
    host.wish("apply", THREE)
    engine.served = {"versions": {}, "aliases": {}}
    assert host.wish("check", THREE)[0] == 1
    host.wish("apply", THREE)
    assert engine.served == THREE


def test_what_the_engine_refuses_is_not_written(host: Host, engine: Engine) -> None:
    host.wish("apply", THREE)
    engine.problem = "LoRA rank 64 is greater than max_lora_rank 16."
    assert host.wish("apply", BOTH) == (1, f"the engine refuses: {engine.problem}")
    assert host.served == THREE


def test_an_engine_that_is_started_anew_afterwards_reads_the_file(host: Host, engine: Engine) -> None:
    """Else an adapter of the next base model could not be brought: the present engine would refuse it for ever."""
    engine.problem = "LoRA rank 64 is greater than max_lora_rank 16."
    assert host.wish("check", THREE, engine="two")[0] == 1
    assert host.wish("apply", THREE, engine="two") == (0, "")
    assert host.served == THREE
    assert engine.served == {"versions": {}, "aliases": {}}
    assert host.wish("check", THREE, engine="two") == (0, "")


def test_adapters_alone_are_refused_where_the_engines_next_start_could_fail(host: Host) -> None:
    status, said = host.wish("apply", THREE, engine="two", engine_follows=False)
    assert (status, said.rpartition(";")[2]) == (1, " run provision first")
    assert host.served is None


@pytest.mark.parametrize(("keep", "meant"), [(True, "contract@4"), (False, "contract@3")])
def test_a_name_that_was_moved_stays_where_promote_leads(host: Host, engine: Engine, keep: bool, meant: str) -> None:
    host.wish("apply", BOTH)
    host.run("move", "contract@4", "me@here", "promote")
    host.wish("apply", BOTH, keep=keep)
    assert engine.served
    assert engine.served["aliases"] == {"contract": meant}


def test_a_version_that_a_name_means_cannot_be_taken_out(host: Host, engine: Engine) -> None:
    host.wish("apply", BOTH)
    host.run("move", "contract@4", "me@here", "promote")
    status, said = host.wish("apply", THREE)
    assert (status, said) == (1, "contract is contract@4, which is no longer listed; promote another version first")
    assert engine.served
    assert set(engine.served["versions"]) == {"contract@3", "contract@4"}


def test_a_move_is_told_written_down_and_can_be_made_again(host: Host, engine: Engine) -> None:
    host.wish("apply", BOTH)
    for _ in range(2):
        status, said = host.run("move", "contract@4", "me@here", "promote")
        assert status == 0
    assert json.loads(said)["from"] == "contract@4"
    assert engine.served
    assert engine.served["aliases"] == {"contract": "contract@4"}
    report = json.loads(host.run("show")[1])
    (entry,) = report["history"]
    told = [entry[key] for key in ("who", "what", "from", "to")]
    assert told == ["me@here", "promote", "contract@3", "contract@4"]
    assert {**report["served"], "engine": "one"} == report["running"]


def test_a_move_to_what_is_not_served_is_refused(host: Host) -> None:
    host.wish("apply", THREE)
    assert host.run("move", "contract@4", "me@here", "promote") == (
        1,
        "contract@4 is not served here; run adapters:apply first",
    )


def test_an_engine_that_was_started_without_adapters_is_told(host: Host, engine: Engine) -> None:
    host.wish("apply", BOTH)
    engine.served = None
    status, said = host.run("move", "contract@4", "me@here", "promote")
    assert (status, said.partition(";")[0]) == (1, "the engine was started without adapters")
    assert host.served == BOTH


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("three", ""),
        ("", "contract@4 gives an empty answer"),
        ("one", f"contract@4 {ALIKE} 3 prompts of ours; list one"),
    ],
)
def test_a_version_is_tried(host: Host, engine: Engine, answer: str, words: str) -> None:
    engine.answers["contract@4"] = answer
    status, said = host.run("try", "contract@4", "base")
    assert (status, said[: len(words)]) == (1 if words else 0, words)


def test_a_version_that_begins_as_its_base_does_is_tried_with_its_own_prompt(host: Host, engine: Engine) -> None:
    """A sound adapter for one task often says on all else what its base says; it once could not be promoted."""
    engine.answers |= {"contract@4": "one", "contract@4: Clause 7:": "three"}
    assert host.run("try", "contract@4", "base", "Clause 7:") == (0, "")
    status, said = host.run("try", "contract@4", "base", "Clause 8:")
    assert (status, said.partition("; ")[0]) == (1, f"contract@4 {ALIKE} the listed prompt")


def test_only_folders_that_nobody_needs_are_removed(host: Host) -> None:
    kept, served, old = (host.data / each for each in ("models/base@1", "adapters/contract@3", "models/base@0"))
    for folder in (kept, served, old):
        folder.mkdir(parents=True)
    host.wish("apply", {"versions": {"contract@3": str(served)}, "aliases": {"contract": "contract@3"}})
    status, said = host.run("prune", json.dumps([str(kept)]))
    assert (status, json.loads(said)) == (0, [str(old)])
    assert [folder.exists() for folder in (kept, served, old)] == [True, True, False]


def test_the_model_that_an_engine_runs_or_returns_to_is_no_folder_to_remove(host: Host, tmp_path: Path) -> None:
    """Once another revision in the stack's file was enough to remove the weights under the engine that served."""
    models = host.data / "models"
    good, runs, next_, old = (models / f"base@{name}" for name in ("good", "runs", "next", "run"))
    for folder in (good, runs, next_, old):
        folder.mkdir(parents=True)
    (tmp_path / "vllm.service").write_text(f"ExecStart=/venv/bin/python --model {runs} --port 8000\n")
    note = {"good": {"unit": f"ExecStart=/venv/bin/python --model {good}\n"}, "former": {"unit": f"x {old}"}}
    (tmp_path / "vllm.service.json").write_text(json.dumps(note))
    (tmp_path / "ollama.service.json").write_text(json.dumps({"good": None}))
    in_use = {folder["path"]: folder["in_use"] for folder in json.loads(host.run("show")[1])["folders"]}
    assert in_use == {str(good): True, str(runs): True, str(next_): False, str(old): False}
    assert json.loads(host.run("prune", json.dumps([str(next_)]))[1]) == [str(old)]


def test_a_host_that_never_had_adapters_is_told(host: Host, tmp_path: Path) -> None:
    host.data = tmp_path / "elsewhere"
    assert host.run("show") == (1, "no adapters were ever brought here; run provision")


@pytest.mark.parametrize("fails", ["write", "note"])
def test_a_move_that_cannot_be_written_down_is_undone(
    host: Host, engine: Engine, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Else the engine's next start would silently serve another version than clients get now."""
    host.wish("apply", BOTH)
    works = getattr(adapter_versions.Host, fails)
    problems = [OSError(errno.ENOSPC, "No space left on device")]

    def once(self: adapter_versions.Host, content: dict[str, Any]) -> None:
        if problems:
            raise problems.pop()
        works(self, content)

    monkeypatch.setattr(adapter_versions.Host, fails, once)
    status, said = host.run("move", "contract@4", "me@here", "promote")
    assert (status, said) == (1, "cannot write down that contract moves (No space left on device); it did not")
    assert engine.served == host.served == BOTH
    assert host.run("move", "contract@4", "me@here", "promote")[0] == 0


def test_a_torn_line_of_the_history_costs_no_other(host: Host) -> None:
    host.wish("apply", BOTH)
    (host.data / "adapters" / "adapters.lock").write_bytes(b'{"who": "before"}\n{"time": "2026-11-\xe2')
    assert host.run("move", "contract@4", "me@here", "promote")[0] == 0
    history = json.loads(host.run("show")[1])["history"]
    assert [entry["who"] for entry in history] == ["before", "me@here"]
