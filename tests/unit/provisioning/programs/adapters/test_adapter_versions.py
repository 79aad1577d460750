"""The host's program for adapter versions and aliases, run against a double of the engine's plugin."""

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioning.programs.adapters import adapter_versions
from tests.doubles.running import running
from tests.unit.provisioning.adapters.engine_with_adapters import Engine

ALIKE = "begins its answers like base, on"
V3, V4 = "/data/adapters/contract@3", "/data/adapters/contract@4"
THREE: dict[str, Any] = {"versions": {"contract@3": V3}, "aliases": {"contract": "contract@3"}}
BOTH: dict[str, Any] = {"versions": {"contract@3": V3, "contract@4": V4}, "aliases": {"contract": "contract@3"}}
WITH_SUMMARY: dict[str, Any] = {
    "versions": {**THREE["versions"], "summary@1": "/data/adapters/summary@1"},
    "aliases": {**THREE["aliases"], "summary": "summary@1"},
}


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    (tmp_path / "engine.env").write_text("VLLM_API_KEY=sample\n")
    monkeypatch.setattr(adapter_versions, "ENGINE_ENV", str(tmp_path / "engine.env"))
    with running(Engine()) as server:
        yield server


class Host:
    """A host with a data folder."""

    def __init__(self, data: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self.port = str(engine.server_port)
        self._capsys = capsys
        (data / "adapters").mkdir(parents=True)

    def run(self, command: str, *words: str) -> tuple[int, str]:
        """Return exit status and output, errors last."""
        status = adapter_versions.main(command, str(self.data), self.port, *words)
        said = self._capsys.readouterr()
        return status, (said.out + said.err.removeprefix("error: ")).strip()

    def wanted(
        self,
        command: str,
        served: dict[str, Any],
        *,
        keep: bool = True,
        engine: str = "one",
        engine_follows: bool = True,
        retire: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        rest = {"keep": keep, "engine": engine, "engine_follows": engine_follows, "retire": retire or {}}
        return self.run(command, json.dumps({**served, **rest}))

    @property
    def served(self) -> dict[str, Any] | None:
        """What the next start of the engine would serve."""
        path = self.data / "adapters" / "served.json"
        return {key: self.file[key] for key in ("versions", "aliases")} if path.exists() else None

    @property
    def file(self) -> dict[str, Any]:
        """Everything that a start of the engine reads."""
        content: dict[str, Any] = json.loads((self.data / "adapters" / "served.json").read_text())
        return content


@pytest.fixture
def host(tmp_path: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> Host:
    return Host(tmp_path / "data", engine, capsys)


def test_apply_updates_the_engine_and_the_file_of_its_next_start(host: Host, engine: Engine) -> None:
    assert host.wanted("check", THREE)[0] == 1
    assert host.wanted("apply", THREE) == (0, "")
    assert engine.served == host.served == THREE
    assert host.wanted("check", THREE) == (0, "")


def test_without_an_engine_the_file_is_written_for_its_first_start(host: Host) -> None:
    host.port = "1"
    assert host.wanted("apply", THREE) == (0, "")
    assert host.served == THREE
    assert host.wanted("check", THREE) == (0, "")


def test_an_engine_that_lost_its_adapters_gets_them_again(host: Host, engine: Engine) -> None:
    host.wanted("apply", THREE)
    engine.served = {"versions": {}, "aliases": {}}
    assert host.wanted("check", THREE)[0] == 1
    host.wanted("apply", THREE)
    assert engine.served == THREE


def test_versions_that_the_engine_refuses_are_not_written(host: Host, engine: Engine) -> None:
    host.wanted("apply", THREE)
    engine.problem = "LoRA rank 64 is greater than max_lora_rank 16."
    assert host.wanted("apply", BOTH) == (1, f"the engine refuses: {engine.problem}")
    assert host.served == THREE


def test_an_engine_that_restarts_afterwards_reads_the_file(host: Host, engine: Engine) -> None:
    """Without this, an adapter of the next base model could never be added: the present engine refuses it."""
    engine.problem = "LoRA rank 64 is greater than max_lora_rank 16."
    assert host.wanted("check", THREE, engine="two")[0] == 1
    assert host.wanted("apply", THREE, engine="two") == (0, "")
    assert host.served == THREE
    assert engine.served == {"versions": {}, "aliases": {}}
    assert host.wanted("check", THREE, engine="two") == (0, "")


def test_adapters_alone_are_refused_if_the_engines_next_start_could_fail(host: Host) -> None:
    refusal = "; run `make provision` first, with the same STACK or INVENTORY, which restarts it"
    for command in ("apply", "check"):
        status, said = host.wanted(command, THREE, engine="two", engine_follows=False)
        assert (status, said.endswith(refusal)) == (1, True)
    assert said.startswith("planned: fail: the engine runs with other settings than the stack file")
    assert host.served is None


@pytest.mark.parametrize(("keep", "meant"), [(True, "contract@4"), (False, "contract@3")])
def test_an_alias_stays_where_promote_moved_it(host: Host, engine: Engine, keep: bool, meant: str) -> None:
    host.wanted("apply", BOTH)
    host.run("move", "contract@4", "me@here", "promote")
    host.wanted("apply", BOTH, keep=keep)
    assert engine.served
    assert engine.served["aliases"] == {"contract": meant}


def test_a_version_with_an_alias_cannot_be_removed(host: Host, engine: Engine) -> None:
    host.wanted("apply", BOTH)
    host.run("move", "contract@4", "me@here", "promote")
    status, said = host.wanted("apply", THREE)
    assert (status, said) == (1, "contract is contract@4, which is no longer listed; promote another version first")
    assert engine.served
    assert set(engine.served["versions"]) == {"contract@3", "contract@4"}


def test_a_served_alias_cannot_be_removed(host: Host, engine: Engine) -> None:
    """An alias without lines in the manifest got 404, while apply reported that all aliases were unchanged."""
    host.wanted("apply", WITH_SUMMARY)
    command = '`make adapters DO=apply ARGS="--retire summary"` with the same STACK or INVENTORY'
    refusal = f"summary is served and no longer listed; list it again, or run {command}"
    for task in ("apply", "check"):
        status, said = host.wanted(task, THREE)
        assert (status, refusal in said) == (1, True)
    assert said.splitlines()[0].startswith("planned: fail: summary is served and no longer listed")
    assert engine.served == host.served == WITH_SUMMARY


def test_an_alias_is_retired_explicitly_and_a_plan_shows_it(host: Host, engine: Engine) -> None:
    host.wanted("apply", WITH_SUMMARY)
    retire = {"summary": "me@here"}
    planned = ["planned: summary@1 stops being served", "planned: summary stops being served"]
    assert host.wanted("check", THREE, retire=retire)[1].splitlines()[:2] == planned
    for _ in range(2):
        assert host.wanted("apply", THREE, retire=retire) == (0, "")
    assert engine.served == host.served == THREE
    (entry,) = json.loads(host.run("show")[1])["history"]
    assert [entry[key] for key in ("who", "what", "from", "to")] == ["me@here", "retire", "summary@1", ""]
    assert host.wanted("check", THREE) == (0, "")


def test_an_alias_is_retired_even_if_a_restart_with_other_settings_is_due(host: Host, engine: Engine) -> None:
    """Provision refused the alias and named --retire, which refused the settings and named provision."""
    host.wanted("apply", WITH_SUMMARY)
    assert "summary is served and no longer listed" in host.wanted("apply", BOTH, engine="two")[1]

    retire = {"summary": "me@here"}
    planned = ["planned: summary@1 stops being served", "planned: summary stops being served"]
    said = host.wanted("check", BOTH, engine="two", engine_follows=False, retire=retire)[1]
    assert said.splitlines()[:-1] == planned
    for command in ("apply", "check"):
        assert host.wanted(command, BOTH, engine="two", engine_follows=False, retire=retire) == (0, "")
    assert engine.served == host.served == THREE, "contract@4 is for the engine with the other settings"
    (entry,) = json.loads(host.run("show")[1])["history"]
    assert [entry["what"], entry["from"]] == ["retire", "summary@1"]

    assert host.wanted("apply", BOTH, engine="two") == (0, "")
    assert host.served == BOTH


def test_a_plan_shows_the_change_of_each_alias_if_the_stack_file_decides(host: Host) -> None:
    host.wanted("apply", WITH_SUMMARY)
    moved = {**BOTH, "aliases": {"contract": "contract@4"}}
    status, said = host.wanted("check", moved, keep=False)
    planned = [line.removeprefix("planned: ") for line in said.splitlines()[:-1]]
    assert (status, planned) == (
        1,
        [
            "summary@1 stops being served",
            "summary stops being served",
            "contract@4 is served",
            "contract becomes contract@4",
        ],
    )


def test_a_move_is_printed_and_recorded_and_can_be_repeated(host: Host, engine: Engine) -> None:
    host.wanted("apply", BOTH)
    for _ in range(2):
        status, said = host.run("move", "contract@4", "me@here", "promote")
        assert status == 0
    assert json.loads(said)["from"] == "contract@4"
    assert engine.served
    assert engine.served["aliases"] == {"contract": "contract@4"}
    report = json.loads(host.run("show")[1])
    (entry,) = report["history"]
    announced = [entry[key] for key in ("who", "what", "from", "to")]
    assert announced == ["me@here", "promote", "contract@3", "contract@4"]
    assert {**report["served"], "engine": "one"} == report["running"]


def test_a_move_to_an_unserved_version_is_refused(host: Host) -> None:
    host.wanted("apply", THREE)
    assert host.run("move", "contract@4", "me@here", "promote") == (
        1,
        "contract@4 is not served here; run `make adapters DO=apply` first, with the same STACK or INVENTORY",
    )


def test_an_engine_that_was_started_without_adapters_is_reported(host: Host, engine: Engine) -> None:
    host.wanted("apply", BOTH)
    engine.served = None
    status, said = host.run("move", "contract@4", "me@here", "promote")
    assert (status, said.partition(";")[0]) == (1, "the engine was started without adapters")
    assert host.served == BOTH


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("three", ""),
        ("", "contract@4 gives an empty answer"),
        ("one", f"contract@4 {ALIKE} 3 built-in prompts; list a `prompt` that the two answer differently"),
    ],
)
def test_a_version_is_tried(host: Host, engine: Engine, answer: str, words: str) -> None:
    engine.answers["contract@4"] = answer
    status, said = host.run("try", "contract@4", "base")
    assert (status, said[: len(words)]) == (1 if words else 0, words)


def test_a_version_that_answers_like_its_base_is_tried_with_its_own_prompt(host: Host, engine: Engine) -> None:
    """A good adapter for one task often answers everything else like its base; it could not be promoted."""
    engine.answers |= {"contract@4": "one", "contract@4: Clause 7:": "three"}
    assert host.run("try", "contract@4", "base", "Clause 7:") == (0, "")
    status, said = host.run("try", "contract@4", "base", "Clause 8:")
    assert (status, said.partition("; ")[0]) == (1, f"contract@4 {ALIKE} the listed prompt")


def test_a_host_that_never_had_adapters_is_reported(host: Host, tmp_path: Path) -> None:
    host.data = tmp_path / "elsewhere"
    assert host.run("move", "contract@4", "me@here", "promote") == (
        1,
        "this host has never had adapters; run provision",
    )
    assert json.loads(host.run("show")[1])["served"] == {"versions": {}, "aliases": {}}


@pytest.mark.parametrize("fails", ["write", "note"])
def test_a_move_that_cannot_be_recorded_is_undone(
    host: Host, engine: Engine, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Otherwise the engine's next start would silently serve another version than clients get now."""
    host.wanted("apply", BOTH)
    works = getattr(adapter_versions.Host, fails)
    problems = [OSError(errno.ENOSPC, "No space left on device")]

    def once(self: adapter_versions.Host, content: dict[str, Any]) -> None:
        if problems:
            raise problems.pop()
        works(self, content)

    monkeypatch.setattr(adapter_versions.Host, fails, once)
    status, said = host.run("move", "contract@4", "me@here", "promote")
    assert (status, said) == (1, "cannot record the move of contract (No space left on device); it did not move")
    assert engine.served == host.served == BOTH
    assert host.run("move", "contract@4", "me@here", "promote")[0] == 0


def test_an_incomplete_line_of_the_history_does_not_hide_others(host: Host) -> None:
    host.wanted("apply", BOTH)
    (host.data / "adapters" / "adapters.lock").write_bytes(b'{"who": "before"}\n{"time": "2026-11-\xe2')
    assert host.run("move", "contract@4", "me@here", "promote")[0] == 0
    history = json.loads(host.run("show")[1])["history"]
    assert [entry["who"] for entry in history] == ["before", "me@here"]


WHY = "vLLM does not support init_lora_weights='pissa'."


@pytest.fixture
def left_out(host: Host, engine: Engine) -> Engine:
    """An engine whose start left out contract@4, which the file lists beside contract@3."""
    host.wanted("apply", BOTH)
    engine.refused = {"contract@4": {"folder": V4, "problem": f"{WHY}\nconvert it"}}
    engine.served = THREE
    return engine


@pytest.mark.usefixtures("left_out")
def test_a_version_that_a_start_left_out_is_reported_and_blocks_nothing_else(host: Host) -> None:
    """One adapter that vLLM refused stopped its start: base and good adapters were down."""
    assert host.wanted("check", BOTH) == (0, "")
    assert host.wanted("apply", BOTH) == (0, "")
    refusal = f"the engine refuses some adapters and serves all others: contract@4: {WHY} convert it"
    assert host.wanted("loaded", BOTH) == (1, refusal)
    planned = f"planned: load contract@4 again; the engine refused it: {WHY} convert it"
    assert host.wanted("left-out", BOTH) == (1, f"{planned}\n{refusal}")
    assert host.served == BOTH


def test_a_version_that_a_start_left_out_is_tried_again(host: Host, left_out: Engine) -> None:
    left_out.refused = {}
    assert host.wanted("loaded", BOTH) == (0, "")
    assert host.wanted("left-out", BOTH) == (0, "")
    assert host.wanted("check", BOTH)[0] == 1, "the engine of this test does not load it by itself"


def test_an_adapter_that_was_left_out_is_not_promoted(host: Host, left_out: Engine) -> None:
    assert host.run("move", "contract@4", "me", "promote") == (1, f"the engine refuses contract@4: {WHY} convert it")
    assert host.served == BOTH
    assert left_out.refused


def test_other_versions_can_change_beside_a_left_out_one(host: Host, left_out: Engine) -> None:
    more = {**BOTH, "versions": {**BOTH["versions"], "summary@1": "/data/adapters/summary@1"}}
    assert host.wanted("check", more)[0] == 1
    assert host.wanted("apply", more) == (0, "")
    assert host.wanted("check", more) == (0, "")
    assert left_out.served
    assert set(left_out.served["versions"]) == {"contract@3", "summary@1"}


FOUR: dict[str, Any] = {"versions": {"contract@4": V4}, "aliases": {"contract": "contract@4"}}


def test_a_start_may_return_to_the_previous_version_of_an_alias(host: Host) -> None:
    host.wanted("apply", THREE, keep=False)
    assert host.wanted("apply", FOUR, keep=False, engine="two") == (0, "")
    assert host.file == {**FOUR, "former": THREE}


def test_a_start_with_another_base_does_not_return_to_previous_versions(host: Host) -> None:
    """An adapter of the previous base would answer nonsense on a new base of the same sizes."""
    host.wanted("apply", {**THREE, "base": "/data/models/a"}, keep=False)
    assert host.wanted("apply", {**FOUR, "base": "/data/models/b"}, keep=False, engine="two") == (0, "")
    assert host.file == {**FOUR, "base": "/data/models/b"}


def test_a_serving_engine_is_not_changed_while_files_are_missing(host: Host, engine: Engine) -> None:
    """A restart would lose the adapter whose fetch failed."""
    host.wanted("apply", THREE)
    wanted = {**BOTH, "whole": True}
    refusal = "the files of contract@3 are missing; the served versions stay until they arrive"
    assert host.wanted("apply", wanted, engine="two") == (1, refusal)
    assert (host.served, engine.served) == (THREE, THREE)
    host.port = "1"
    assert host.wanted("apply", wanted) == (0, ""), "nothing is served, so nothing is lost"
