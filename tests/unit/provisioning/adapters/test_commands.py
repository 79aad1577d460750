"""A name is moved on all hosts or on none, and the record tells it: hosts are played by what their program says."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import HostError, UsageError
from infra.contract.outputs import HostRecord
from provisioning.adapters import commands
from provisioning.adapters.hosts import AdapterHosts
from provisioning.adapters.listing import adapters_list
from provisioning.adapters.report import AdapterReport
from provisioning.hosts.inventory import load
from provisioning.hosts.target import Target
from tests.adapter_manifests import listed, write_manifest
from tests.unit.provisioning.played_hosts import OLD, Hosts, record
from tests.unit.provisioning.records import host_values, stack_values


def test_promote_tries_then_moves_all_hosts_and_writes_one_line(hosts: Hosts, target: Target, tmp_path: Path) -> None:
    assert commands.promote(target, "contract@4") == 0
    assert hosts.means == {"one": "contract@4", "two": "contract@4"}
    assert sorted(hosts.asked[:4]) == sorted((name, command) for name in ("one", "two") for command in ("show", "try"))
    (line,) = record(tmp_path)
    assert (line["what"], line["from"], line["to"], line["hosts"]) == (
        "promote",
        "contract@3",
        "contract@4",
        ("one", "two"),
    )


def test_promote_that_installs_the_version_names_itself_to_run_again(
    hosts: Hosts, target: Target, tmp_path: Path
) -> None:
    """Once the hint after a failed promote was to run apply again."""
    fifth = (listed("contract", 3, "a"), listed("contract", 5, "b"))
    write_manifest(tmp_path / "adapters" / "test.yaml", *fifth)
    with pytest.raises(HostError, match="its engine is down, or was started without adapters"):
        commands.promote(target, "contract@5")
    assert hosts.again == f"make adapters DO=promote ARGS=contract@5 INVENTORY={tmp_path}/hosts.json"


def test_a_version_is_tried_with_the_prompt_that_is_listed(hosts: Hosts, target: Target, tmp_path: Path) -> None:
    both = (listed("contract", 3, "a"), listed("contract", 4, "b", prompt="Clause 7:"))
    write_manifest(tmp_path / "adapters" / "test.yaml", *both)
    commands.promote(target, "contract@4")
    commands.promote(target, "contract@3")
    tried = [words for (_, command), words in zip(hosts.asked, hosts.words, strict=True) if command == "try"]
    assert tried == [("contract@4", "tiny", "Clause 7:")] * 2 + [("contract@3", "tiny")] * 2


def test_a_move_that_one_host_cannot_make_is_undone_on_the_others(
    hosts: Hosts, target: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts.broken = "two"
    with pytest.raises(HostError, match="1 of 2 hosts failed: two"):
        commands.promote(target, "contract@4")
    assert hosts.means == {"one": "contract@3", "two": "contract@3"}
    assert record(tmp_path) == []
    assert "two: the engine does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("cause", [HostError("the connection broke"), KeyboardInterrupt()], ids=["broken", "Ctrl-C"])
@pytest.mark.parametrize("task", ["promote", "rollback"])
def test_host_that_moved_without_an_answer_is_moved_back(
    hosts: Hosts, target: Target, tmp_path: Path, task: str, cause: BaseException
) -> None:
    if task == "rollback":
        commands.promote(target, "contract@4")
    before, lines = dict(hosts.means), record(tmp_path)
    hosts.lost["two"] = cause
    with pytest.raises(HostError if isinstance(cause, HostError) else KeyboardInterrupt):
        commands.promote(target, "contract@4") if task == "promote" else commands.rollback(target, "contract", "")
    assert hosts.means == before
    assert record(tmp_path) == lines


def test_a_host_that_cannot_be_moved_back_hides_no_other(
    hosts: Hosts, target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts.broken, hosts.lost["two"] = "one", HostError("the connection broke", where="two")
    with pytest.raises(HostError, match="2 of 2 hosts failed"):
        commands.promote(target, "contract@4")
    assert hosts.means["two"] == "contract@3"
    said = capsys.readouterr().err
    assert "one: cannot be reached; contract may mean contract@4 there" in said
    assert "two: moved back to contract@3" in said


def test_interrupted_move_is_recorded_by_the_next(hosts: Hosts, target: Target, tmp_path: Path) -> None:
    hosts.means = dict.fromkeys(hosts.means, "contract@4")
    for _ in range(2):
        commands.promote(target, "contract@4")
    (line,) = record(tmp_path)
    assert (line["from"], line["to"], line["hosts"]) == ("contract@3", "contract@4", ("one", "two"))


def test_rollback_goes_to_the_previous_version_and_asks_nothing(hosts: Hosts, target: Target, tmp_path: Path) -> None:
    commands.promote(target, "contract@4")
    hosts.asked.clear()
    assert commands.rollback(target, "contract", "") == 0
    assert hosts.means == {"one": "contract@3", "two": "contract@3"}
    assert sorted(hosts.asked) == [("one", "move"), ("two", "move")]
    assert [line["to"] for line in record(tmp_path)] == ["contract@4", "contract@3"]


def test_second_rollback_does_not_go_forward(hosts: Hosts, target: Target, tmp_path: Path) -> None:
    commands.promote(target, "contract@4")
    commands.rollback(target, "contract", "")
    with pytest.raises(UsageError, match="contract had no version before this one; name one: --to contract@VERSION"):
        commands.rollback(target, "contract", "")
    assert hosts.means == {"one": "contract@3", "two": "contract@3"}
    assert [line["to"] for line in record(tmp_path)] == ["contract@4", "contract@3"]


def test_move_to_the_same_version_is_not_recorded(hosts: Hosts, target: Target, tmp_path: Path) -> None:
    commands.promote(target, "contract@4")
    commands.promote(target, "contract@4")
    assert hosts.means == {"one": "contract@4", "two": "contract@4"}
    assert len(record(tmp_path)) == 1


def test_move_by_somebody_else_is_reported(
    hosts: Hosts, target: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.promote(target, "contract@4")
    hosts.means = dict.fromkeys(hosts.means, "contract@3")
    commands.promote(target, "contract@4")
    assert "note: the hosts had contract@3, " in capsys.readouterr().err
    assert len(record(tmp_path)) == 2


WRONG: dict[str, tuple[Callable[[Target], int], str]] = {
    "an unlisted version": (lambda target: commands.promote(target, "contract@5"), "contract@5 is not listed"),
    "no version before": (lambda target: commands.rollback(target, "contract", ""), "contract had no version before"),
    "an unknown adapter": (lambda target: commands.rollback(target, "contrac", ""), "did you mean contract?"),
    "a version of another": (
        lambda target: commands.rollback(target, "contract", "summary@1"),
        "--to: summary@1 is not a version of contract; write contract@VERSION",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_is_an_error_and_no_host_is_queried(hosts: Hosts, target: Target, name: str) -> None:
    ask, words = WRONG[name]
    with pytest.raises(UsageError) as caught:
        ask(target)
    assert words in str(caught.value)
    assert hosts.asked == []


def test_missing_manifest_error_names_its_path(hosts: Hosts, target: Target, tmp_path: Path) -> None:
    (tmp_path / "adapters" / "test.yaml").unlink()
    with pytest.raises(UsageError, match=r"adapters/test.yaml: there is no manifest of adapters; write one"):
        commands.plan(target)
    assert hosts.asked == []


@pytest.mark.usefixtures("hosts")
def test_every_task_serves_what_the_manifest_lists(target: Target) -> None:
    assert load(target).serving.served_names == ("tiny", "contract", "contract@3", "contract@4")


def test_gateway_host_of_a_tunnel_has_no_adapters(hosts: Hosts, target: Target, tmp_path: Path) -> None:
    published = stack_values(host_values("one"), host_values("two"), tunnel={"engine": "one", "gateway": "two"})
    (tmp_path / "hosts.json").write_text(json.dumps(published))
    assert commands.promote(target, "contract@4") == 0
    assert adapters_list(target, as_json=False) == 0
    assert {name for name, _ in hosts.asked} == {"one"}
    assert [line["hosts"] for line in record(tmp_path)] == [("one",)]


def test_list_shows_what_the_other_hosts_have_when_one_is_dead(
    hosts: Hosts, target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It showed nothing, in the night in which a host was dead."""
    report = AdapterHosts.report

    def dead(stack: AdapterHosts, host: HostRecord) -> AdapterReport:
        if host.name in gone:
            raise HostError("connection refused", where=host.name)
        return report(stack, host)

    monkeypatch.setattr(AdapterHosts, "report", dead)
    gone = {"two"}
    with pytest.raises(HostError, match="1 of 2 hosts failed: two; the list above lacks what failed"):
        adapters_list(target, as_json=False)
    assert "contract@3  served by one; contract means it  (tiny llama a)" in capsys.readouterr().out
    gone = {"one", "two"}
    with pytest.raises(HostError, match="2 of 2 hosts failed: one, two; see `make status"):
        adapters_list(target, as_json=False)
    assert capsys.readouterr().out == ""
    assert all(name == "one" for name, _ in hosts.asked)


def test_list_shows_versions_dates_and_unused_folders(
    hosts: Hosts, target: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.promote(target, "contract@4")
    hosts.means["two"] = "contract@3"
    assert adapters_list(target, as_json=False) == 0
    first, second, *unused = capsys.readouterr().out.splitlines()
    assert first == "contract@3  served by one, two; contract means it on two  (tiny llama a)"
    assert second.startswith("contract@4  served by one, two; contract means it on one since 2026-11-21T16:00:00Z by ")
    assert unused == [
        f"one: unused {OLD} (3.00 GiB)",
        f"two: unused {OLD} (3.00 GiB)",
        f"`make adapters DO=prune INVENTORY={tmp_path}/hosts.json` removes unused folders",
    ]
    adapters_list(target, as_json=True)
    entries = json.loads(capsys.readouterr().out)["adapters"]
    assert [entry["means_name"] for entry in entries] == [["two"], ["one"]]
