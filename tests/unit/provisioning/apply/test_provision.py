"""Roles become one list in a fixed order, results one file and one exit status."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError, DeployError, HostError, UsageError
from infra.contract.outputs import HostRecord
from infra.lifecycle import saved
from provisioning.access.credentials import client_keys, keys_file
from provisioning.apply import provision as module
from provisioning.apply.desired_state import desired_state
from provisioning.apply.provision import plan, provision, why
from provisioning.converge.resources import Unit
from provisioning.converge.result import HostResult, Outcome
from provisioning.hosts.installed_names import installed_names, note_names, unknown_hosts
from provisioning.hosts.target import Target
from provisioning.roles import ROLES
from provisioning.roles.gateway.process import Places
from provisioning.roles.host.layout import ENGINE_UNIT
from tests.unit.provisioning.records import SERVING, host_values, stack

CHANGED = Outcome(id="file:/a", status="changed", changes=("create",), seconds=1.5, diff="+new\n")
FAILED = Outcome(id="venv:/v", status="failed", error="no space left on device", detail="uv says: disk full")

OK = HostResult(host="a", ok=True, changed=(CHANGED,), seconds=2.0)
BAD = HostResult(host="b", ok=False, failed=(FAILED,))

MISSING_FOLDER = {"name": "base", "source": {"kind": "folder", "path": "no/such/folder"}}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("LLM_DEPLOY_RUN", raising=False)
    return tmp_path / "runs"


def with_results(monkeypatch: pytest.MonkeyPatch, results: dict[str, HostResult | Exception]) -> None:
    """Let the hosts be those of `results`, each ending as it says there; only the wire is replaced."""
    outputs = stack(*(host_values(name, address=f"203.0.113.{index}") for index, name in enumerate(results, start=7)))

    def bring(host: HostRecord, *_: Any, **__: Any) -> HostResult:
        result = results[host.name]
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(module, "load", lambda _: outputs)
    monkeypatch.setattr(module, "bring", bring)


def run(task: Any = provision, roles: Sequence[str] = ("base",)) -> int:
    return int(task(Target(stack="test"), names=[], roles=roles, at_once=8))


@pytest.mark.usefixtures("runs")
def test_a_run_that_leaves_the_gateway_out_names_the_command_that_tells_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A host that was provisioned alone got no request, and nothing said why."""
    names = ("a", "b", "gate")
    with_results(monkeypatch, {name: HostResult(host=name, ok=True) for name in names})
    hosts = (host_values(name, address=f"203.0.113.{index}") for index, name in enumerate(names, start=7))
    outputs = stack(*hosts).model_copy(update={"gateway_host": "gate"})
    monkeypatch.setattr(module, "load", lambda _: outputs)

    def said(*names: str) -> bool:
        assert provision(Target(stack="test"), names=names, roles=ROLES, at_once=8) == 0
        line = "! gate does not know yet what these hosts have: run `make provision HOST=gate STACK=test`"
        return line in capsys.readouterr().err

    assert said("a")
    assert not said("a"), "the gateway has nothing to learn"
    assert not said("b", "gate")


@pytest.mark.usefixtures("runs")
def test_roles_come_in_their_order_and_only_when_asked_for() -> None:
    outputs = stack(host_values("a"), host_values("b"))
    both = desired_state(outputs, outputs.hosts, ["gateway", "base"]).lists
    assert sorted(both) == ["a", "b"]
    ids = [each.id for each in both["a"]]
    alone = [each.id for each in desired_state(outputs, outputs.hosts, ["base"]).lists["a"]]
    assert ids[: len(alone)] == alone
    assert "packages:gateway" in ids[len(alone) :]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("engine", "other"), [("vllm", "ollama"), ("ollama", "vllm")])
def test_previous_engine_serves_until_the_new_one_can_start(engine: str, other: str) -> None:
    """Once it was stopped first: a fetch that failed, or took an hour, left a host that served nothing."""
    outputs = stack(serving={**SERVING, "engine": engine})
    listed = desired_state(outputs, outputs.hosts, ["engine"]).lists["one"]
    stopped, started = [each for each in listed if isinstance(each, Unit) and each.name in ENGINE_UNIT.values()]
    assert (stopped.name, stopped.running, stopped.enabled) == (ENGINE_UNIT[other], False, False)
    assert (started.name, started.running, started.enabled) == (ENGINE_UNIT[engine], True, True)
    assert set(started.restart_on) <= set(stopped.after)
    assert set(started.after) == {*stopped.after, stopped.id}
    assert listed.index(started) == listed.index(stopped) + 1


def test_result_is_written_and_printed(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_results(monkeypatch, {"a": OK})
    assert run() == 0
    written = json.loads((runs / "test/latest/provision.json").read_text())
    assert written["ok"] is True
    assert written["roles"] == ["base"]
    assert {key: written["hosts"][0][key] for key in ("host", "changed", "unchanged", "failed", "round_trips")} == {
        "host": "a",
        "changed": 1,
        "unchanged": 0,
        "failed": 0,
        "round_trips": 1,
    }
    said = capsys.readouterr()
    assert "next: make status STACK=test" in said.err
    assert said.out == ""


def state_files(runs: Path) -> dict[str, bytes]:
    """Return what lies in the state folder, but for the locks."""
    files = [path for path in (runs.parent / "state").rglob("*") if path.is_file() and "lock" not in path.name]
    return {str(path): path.read_bytes() for path in files}


@pytest.mark.parametrize("began", [False, True], ids=["never provisioned", "provisioned at another address"])
def test_a_plan_keeps_no_credentials(runs: Path, monkeypatch: pytest.MonkeyPatch, *, began: bool) -> None:
    """Once a plan with a mistyped address signed a certificate for it, which the next plans took for the right one."""
    hosts = host_values("laptop"), host_values("front", address="203.0.113.8")
    outputs = stack(*hosts, tunnel={"engine": "laptop", "gateway": "front"})
    if began:
        desired_state(stack(*hosts[:1]), stack(*hosts[:1]).hosts, ["gateway"])
    before = state_files(runs)
    monkeypatch.setattr(module, "load", lambda _: outputs)
    monkeypatch.setattr(module, "bring", lambda host, resources, **_: HostResult(host=host.name, ok=bool(resources())))
    assert run(plan, ROLES) == 0
    assert state_files(runs) == before
    assert run(provision, ROLES) == 0
    assert state_files(runs) != before


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("task", [plan, provision])
@pytest.mark.parametrize(("roles", "smoke"), [(ROLES, True), (("base", "gateway"), False), (("base", "engine"), False)])
def test_the_smoke_test_is_named_next_where_it_can_pass(
    task: Any, roles: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, smoke: bool
) -> None:
    with_results(monkeypatch, {"a": HostResult(host="a", ok=True)})
    assert run(task, roles) == 0
    assert ("next: make smoke STACK=test" in capsys.readouterr().err) is smoke


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("task", [plan, provision])
def test_stack_file_edited_after_up_is_reported(
    task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once a plan after an edit said that there was nothing to change."""
    monkeypatch.setattr(saved, "STACKS_DIR", tmp_path)
    (tmp_path / "Pulumi.test.yaml").write_text("new\n")
    saved.note_file("test", "the digest of the old one")
    with_results(monkeypatch, {"a": OK})
    assert run(task) == 0
    assert "! stacks/Pulumi.test.yaml was edited after the last `up`" in capsys.readouterr().err


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("task", "result", "last"),
    [
        (plan, HostResult(host="a", ok=True), "next: make up STACK=test   or   make plan STACK=test"),
        (plan, OK, "next: make up STACK=test   or   make plan STACK=test"),
        (provision, OK, "next: make up STACK=test   or   make status STACK=test"),
    ],
    ids=["nothing to change", "something to change", "provision"],
)
def test_after_an_edit_the_last_lines_name_up_first(
    task: Any,
    result: HostResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    last: str,
) -> None:
    """A plan once ended with "nothing to change" and the smoke test, which made people look for their edit."""
    monkeypatch.setattr(saved, "STACKS_DIR", tmp_path)
    (tmp_path / "Pulumi.test.yaml").write_text("new\n")
    saved.note_file("test", "the digest of the old one")
    with_results(monkeypatch, {"a": result})
    assert run(task) == 0
    *_, before, said = capsys.readouterr().err.splitlines()
    assert said == last
    if task is plan:
        assert before.startswith("this plan uses the stack file as the last `up` read it: ")
        assert ("nothing to change there" in before) is (not result.changed)


def test_one_hosts_failure_hides_no_others_result(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = HostError("connection refused", where="c (x)", hint="is it on?")
    with_results(monkeypatch, {"a": OK, "b": BAD, "c": refused})
    with pytest.raises(DeployError) as caught:
        run()
    assert caught.value.exit_code == 1
    assert str(caught.value).startswith("2 of 3 hosts failed: ")
    written = json.loads((runs / "test/latest/provision.json").read_text())
    assert written["ok"] is False
    assert [(each["host"], each["ok"]) for each in written["hosts"]] == [("a", True), ("b", False), ("c", False)]
    said = capsys.readouterr().err
    assert "a  ✓ 1 changed" in said
    assert "uv says: disk full" in said
    assert "c  ✗ connection refused; is it on?\n" in said


def test_the_only_hosts_error_is_the_commands_own(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_results(monkeypatch, {"a": HostError("connection refused", where="a (root@x:22)")})
    with pytest.raises(HostError, match=r"a \(root@x:22\): connection refused"):
        run()
    written = json.loads((runs / "test/latest/provision.json").read_text())
    assert written["hosts"] == [{"host": "a", "ok": False, "error": "a (root@x:22): connection refused"}]


def test_a_wrong_config_writes_no_result(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load", lambda _: stack(serving={"model": MISSING_FOLDER}))
    with pytest.raises(ConfigError):
        provision(Target(stack="test"), names=[], roles=["engine"], at_once=1)
    assert not runs.exists()


def test_ctrl_c_while_the_lists_are_made_writes_a_result(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_results(monkeypatch, {"a": OK})

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("provisioning.apply.desired_state.desired_state", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    written = json.loads((runs / "test/latest/provision.json").read_text())
    assert written["hosts"] == [{"host": "a", "ok": False, "error": "interrupted"}]


def test_a_plan_prints_diffs_and_writes_only_its_result(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_results(monkeypatch, {"a": OK})
    assert run(plan) == 0
    said = capsys.readouterr()
    assert said.out == "a: 1 to change, 0 unchanged\n  + file:/a: create (1.5 s)\n      +new\n"
    assert "next: make provision STACK=test" in said.err
    assert [path.name for path in (runs / "test/latest").iterdir()] == ["plan.json"]


@pytest.mark.usefixtures("runs")
def test_a_plan_with_nothing_to_change_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_results(monkeypatch, {"a": HostResult(host="a", ok=True)})
    assert run(plan) == 0
    assert "nothing to change" in capsys.readouterr().err


JOURNAL = """\
Starting vllm.service - vLLM...
(EngineCore pid=99) ERROR 11-21 13:12:49 [core.py:1750] ValueError: LoRA rank 16 is greater than max_lora_rank 8.
RuntimeError: Engine core initialization failed. See root cause above.
"""


def test_cause_is_shown_for_an_engine_that_did_not_start() -> None:
    said = why(Outcome(id="unit:vllm.service", status="failed", error="failed", detail=JOURNAL))
    assert said.splitlines()[0].strip() == "cause: ValueError: LoRA rank 16 is greater than max_lora_rank 8."
    assert "max_lora_rank" in said.splitlines()[1]
    assert "Engine core" not in said


def test_end_of_the_output_is_shown_for_other_failures() -> None:
    assert why(Outcome(id="unit:haproxy.service", status="failed", error="failed", detail="one\ntwo")) == (
        "    one\n    two"
    )


def test_the_endpoint_is_that_of_all_hosts_also_when_one_is_chosen(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_results(monkeypatch, {"a": OK, "b": OK})
    assert provision(Target(stack="test"), names=["a"], roles=["gateway"], at_once=1) == 0
    written = json.loads((runs.parent / "state/stacks/test/endpoint.json").read_text())
    assert [written["url"], *written["other_urls"]] == ["https://203.0.113.7", "https://203.0.113.8"]


def test_failed_run_keeps_the_previous_endpoint(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_results(monkeypatch, {"b": BAD})
    with pytest.raises(DeployError):
        provision(Target(stack="test"), names=[], roles=["gateway"], at_once=1)
    assert not (runs.parent / "state/stacks/test/endpoint.json").exists()


FORMER_KEYS = {
    "a provision of all hosts": (provision, {"a": OK, "b": OK}, [], ["default"]),
    "a provision of one": (provision, {"a": OK, "b": OK}, ["a"], ["batch", "default"]),
    "a provision that failed": (provision, {"a": OK, "b": BAD}, [], ["batch", "default"]),
    "a plan": (plan, {"a": OK, "b": OK}, [], ["batch", "default"]),
}


@pytest.mark.parametrize(("task", "results", "names", "left"), FORMER_KEYS.values(), ids=FORMER_KEYS.keys())
@pytest.mark.usefixtures("runs")
def test_key_of_a_removed_client_is_dropped_once_no_host_accepts_it(
    monkeypatch: pytest.MonkeyPatch, task: Any, results: dict[str, HostResult | Exception], names: Any, left: Any
) -> None:
    client_keys("test", ("batch", "default"))
    with_results(monkeypatch, results)
    with contextlib.suppress(DeployError):
        task(Target(stack="test"), names=names, roles=["gateway"], at_once=1)
    assert sorted(json.loads(keys_file("test").read_text())) == left


def test_the_gateways_host_comes_last_and_asks_a_failed_host_for_nothing(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One host fails: the others and the gateway are provisioned, and clients get the endpoint."""
    hosts = [host_values(name, address=f"203.0.113.{index}") for index, name in enumerate(("gate", "a", "b"), start=7)]
    outputs = stack(*hosts, gateway_host="gate")
    brought: dict[str, Sequence[Any]] = {}

    def bring(host: HostRecord, resources: Any, **_: Any) -> HostResult:
        brought[host.name] = resources()
        failed = (FAILED,) if host.name == "b" else ()
        return HostResult(host=host.name, ok=not failed, failed=failed)

    monkeypatch.setattr(module, "load", lambda _: outputs)
    monkeypatch.setattr(module, "bring", bring)
    monkeypatch.setattr(module, "asked_now", lambda *_: ())
    with pytest.raises(HostError, match="1 of 3 hosts failed: b"):
        run(roles=ROLES)
    assert list(brought)[-1] == "gate"
    (config,) = [each for each in brought["gate"] if each.id == f"file:{Places().config}"]
    servers = {line.split()[1]: line for line in config.content.splitlines() if line.strip().startswith("server ")}
    assert not servers["a"].endswith(" disabled")
    assert servers["b"].endswith(" disabled")
    state = runs.parent / "state/stacks/test"
    assert json.loads((state / "endpoint.json").read_text())["url"] == "https://203.0.113.7"
    assert json.loads((state / "installed.json").read_text()) == {"a": ["tiny"], "b": []}


def test_a_pool_without_its_gateway_has_no_new_endpoint(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = [host_values(name, address=f"203.0.113.{index}") for index, name in enumerate(("a", "gate"), start=7)]
    outputs = stack(*hosts, gateway_host="gate")
    monkeypatch.setattr(module, "load", lambda _: outputs)
    monkeypatch.setattr(module, "bring", lambda host, _, **__: HostResult(host=host.name, ok=host.name != "gate"))
    with pytest.raises(HostError, match="1 of 2 hosts failed: gate"):
        run(roles=ROLES)
    assert not (runs.parent / "state/stacks/test/endpoint.json").exists()


@pytest.mark.parametrize("roles", [("gateway",), ("base", "gateway")])
@pytest.mark.parametrize("task", [provision, plan])
def test_a_checkout_that_knows_no_host_does_not_take_all_of_them_from_the_gateway(
    runs: Path, monkeypatch: pytest.MonkeyPatch, task: Any, roles: Sequence[str]
) -> None:
    hosts = [host_values(name, address=f"203.0.113.{index}") for index, name in enumerate(("a", "b", "gate"), start=7)]
    outputs = stack(*hosts, gateway_host="gate")
    monkeypatch.setattr(module, "load", lambda _: outputs)
    monkeypatch.setattr(module, "bring", lambda *_, **__: pytest.fail("a host was changed"))
    with pytest.raises(UsageError, match="a, b: never provisioned from here, so gate would stop asking there"):
        run(task, roles=roles)
    note_names(outputs, {"b": ("tiny",)})
    with pytest.raises(UsageError, match="a: never provisioned from here"):
        run(task, roles=roles)
    assert not runs.exists()


@pytest.mark.usefixtures("runs")
def test_a_host_that_failed_keeps_the_gateway_from_no_later_change(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = [host_values(name, address=f"203.0.113.{index}") for index, name in enumerate(("a", "b", "gate"), start=7)]
    outputs = stack(*hosts, gateway_host="gate")
    monkeypatch.setattr(module, "load", lambda _: outputs)
    monkeypatch.setattr(module, "bring", lambda host, _, **__: HostResult(host=host.name, ok=host.name != "a"))
    monkeypatch.setattr(module, "asked_now", lambda *_: ())
    with pytest.raises(HostError, match="1 of 3 hosts failed: a"):
        run(roles=ROLES)
    assert (installed_names(outputs)["a"], unknown_hosts(outputs)) == ((), ())
    assert provision(Target(stack="test"), names=["gate"], roles=("gateway",), at_once=8) == 0


@pytest.mark.usefixtures("runs")
def test_a_new_checkout_takes_no_serving_host_from_the_gateway(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The SSH of one host failed for a moment, and the gateway stopped asking it although it served."""
    hosts = [host_values(name, address=f"203.0.113.{index}") for index, name in enumerate(("a", "b", "gate"), start=7)]
    outputs = stack(*hosts, gateway_host="gate")
    brought: list[str] = []

    def bring(host: HostRecord, _: Any, **__: Any) -> HostResult:
        brought.append(host.name)
        return HostResult(host=host.name, ok=host.name != "a")

    monkeypatch.setattr(module, "load", lambda _: outputs)
    monkeypatch.setattr(module, "bring", bring)
    monkeypatch.setattr(module, "asked_now", lambda _, __, names: tuple(names))
    with pytest.raises(HostError, match="2 of 3 hosts failed: a, gate"):
        run(roles=ROLES)
    assert sorted(brought) == ["a", "b"]
    assert unknown_hosts(outputs) == ("a",)
    assert "was left as it is: it would lose a" in capsys.readouterr().err
