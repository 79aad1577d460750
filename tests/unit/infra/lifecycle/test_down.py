"""`ok` is said only for what was looked at, and nothing is forgotten while something is left."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.errors import DeployError, HostError, UsageError
from core.paths import stack_state_dir
from infra.automation.backend import Backend
from infra.automation.events import Report
from infra.automation.pulumi_cli import EngineTimeoutError
from infra.automation.stack import LockedError
from infra.contract.stack_placement import Placement
from infra.lifecycle import commands, down, orphans
from infra.lifecycle.down import APPEAR_S, CLOUD_S, DOWN_S, LAST_LOOK_S, cloud_of, tear_down

OURS = {"cloud": "local", "asked": True, "hosts_stay": False, "kept": []}


class HeldStack:
    """A stack with one machine; destroying it can fail."""

    def __init__(self, *, fails: DeployError | None = None, made: bool = True) -> None:
        self.backend = Backend(ours=True, settings={}, shown="files")
        self.fails = fails
        self.made = made
        self.removed: str = ""
        self.limit_s = 0.0
        self.interrupted = False
        self.let_go = False
        self.in_flight = False

    def has_creations_in_flight(self) -> bool:
        return self.in_flight

    def destroy(self, *, keep: bool, limit_s: float) -> Report | None:  # noqa: ARG002  # nothing here is kept
        self.limit_s = limit_s
        if self.fails:
            raise self.fails
        return Report(done={"delete": ["one-1"]}) if self.made else None

    def unprotect(self) -> None:
        self.let_go = True

    def remove(self, *, with_resources: bool) -> None:
        self.removed = "with resources" if with_resources else "empty"


class Host:
    """What the host says is left, before and after what the state does not know was removed."""

    def __init__(self, left: list[str], *, stays: bool = False, ours: bool = True, kept: tuple[str, ...] = ()) -> None:
        self.left = left
        self.stays = stays
        self.ours = ours
        self._kept = kept

    def kept(self, _cloud: str, _stack: str) -> list[str]:
        return list(self._kept)

    def hosts_stay(self, _cloud: str) -> bool:
        return not self.ours

    def find(self, _cloud: str, _stack: str) -> list[str]:
        return list(self.left)

    def remove(self, _cloud: str, _stack: str, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        if not self.stays:
            self.left = []


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("LLM_DEPLOY_RUN", raising=False)
    monkeypatch.setattr(down, "cloud_of", lambda _stack: "local")


def wire(monkeypatch: pytest.MonkeyPatch, stack: HeldStack, host: Host) -> None:
    """Let `tear_down` work on this stack and this host."""

    @contextmanager
    def hold(_name: str, _cloud: str, *, stop_earlier: bool) -> Iterator[HeldStack]:
        assert stop_earlier
        yield stack

    monkeypatch.setattr(down, "hold", hold)
    monkeypatch.setattr(down, "orphans", host)


def written(tmp_path: Path) -> Any:
    return json.loads((tmp_path / "runs/one/latest/teardown.json").read_text())


def test_all_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stack = HeldStack()
    wire(monkeypatch, stack, Host([]))
    key = stack_state_dir("one") / "id_ed25519"
    key.touch()

    tear_down("one")

    assert written(tmp_path) == {"ok": True, "destroyed": ["one-1"], "left": [], **OURS}
    assert stack.removed == "empty"
    assert not key.parent.exists()


def test_hosts_that_are_not_ours_keep_their_keys(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They go on serving with them."""
    stack = HeldStack()
    wire(monkeypatch, stack, Host([], ours=False))
    keys = stack_state_dir("one") / "keys.json"
    outputs = keys.with_name("outputs.json")
    keys.touch()
    outputs.touch()

    commands.down("one")

    assert keys.exists()
    assert not outputs.exists()
    assert stack.removed
    assert written(tmp_path)["hosts_stay"] is True
    said = capsys.readouterr().err
    assert f"their keys are kept in {keys.parent}" in said
    assert "removed; nothing" not in said


def test_what_is_kept_leaves_no_address_of_hosts_that_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next `up` took the stack for one that stands and skipped preflight; status and smoke asked a stranger."""
    stack = HeldStack()
    wire(monkeypatch, stack, Host([], kept=("volume vol-1",)))
    folder = stack_state_dir("one")
    for name in ("outputs.json", "endpoint.json", "lease.json"):
        (folder / name).touch()

    tear_down("one")

    assert [path.name for path in folder.iterdir()] == ["lease.json"]
    assert not stack.removed, "its state still has what was kept"


def test_only_existing_hosts_are_not_ours() -> None:
    assert [cloud for cloud in ("local", "aws", "gcp", "existing") if orphans.hosts_stay(cloud)] == ["existing"]


def test_what_the_state_does_not_know_is_removed_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wire(monkeypatch, HeldStack(made=False), Host(["interface llm-1"]))

    tear_down("one")

    assert written(tmp_path) == {"ok": True, "destroyed": [], "left": [], **OURS}


def test_what_stays_is_named_and_nothing_is_forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stack = HeldStack()
    wire(monkeypatch, stack, Host(["interface llm-1"], stays=True))
    key = stack_state_dir("one") / "id_ed25519"
    key.touch()

    with pytest.raises(DeployError, match="some resources remain") as told:
        tear_down("one")

    assert "interface llm-1" in told.value.detail
    assert written(tmp_path) == {"ok": False, "destroyed": ["one-1"], "left": ["interface llm-1"], **OURS}
    assert not stack.removed
    assert key.exists()


@pytest.mark.parametrize(
    ("cloud", "in_flight", "waits"),
    [
        pytest.param("aws", True, True, id="a creation was cut off"),
        pytest.param("gcp", True, True, id="a creation was cut off on GCP"),
        pytest.param("aws", False, False, id="nothing was asked for"),
        pytest.param("local", True, False, id="our own host tells at once"),
    ],
)
def test_a_machine_that_appears_after_down_has_looked_is_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cloud: str, in_flight: bool, waits: bool
) -> None:
    """`up` was killed just after it had asked for a machine: `down` found nothing, forgot the stack, and it billed."""
    stack, host = HeldStack(), Host([])
    stack.in_flight = in_flight
    wire(monkeypatch, stack, host)
    monkeypatch.setattr(down, "cloud_of", lambda _stack: cloud)
    monkeypatch.setattr(down, "ensure_sdk", lambda _cloud: None)
    monkeypatch.setattr(down, "known_placement", lambda *_asked: object())
    monkeypatch.setattr(down, "refuse_other_login", lambda *_asked: None)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        host.left = ["instance i-1"]

    tear_down("one", sleep=sleep)

    assert host.left == []
    assert [0 < each <= APPEAR_S for each in waited] == ([True] if waits else [])
    assert written(tmp_path)["ok"] is True


@pytest.mark.parametrize("stays", [False, True], ids=["goes", "stays"])
def test_an_engine_that_fails_keeps_nothing_running(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], stays: bool
) -> None:
    """What it left was listed, and ran on."""
    stack = HeldStack(fails=DeployError("the engine failed"))
    wire(monkeypatch, stack, Host(["process 7"], stays=stays))

    if stays:
        with pytest.raises(DeployError, match="some resources remain"):
            tear_down("one")
    else:
        tear_down("one")

    assert "the engine failed; continuing without the Pulumi engine" in capsys.readouterr().err
    left = ["process 7"] if stays else []
    assert written(tmp_path) == {"ok": not stays, "destroyed": [], "left": left, **OURS}
    assert stack.removed == ("" if stays else "with resources")


@pytest.mark.parametrize(
    ("cloud", "error"),
    [
        pytest.param("local", LockedError("is locked by kim@far, process 7"), id="a lock of somebody else"),
        pytest.param("local", UsageError("have expired"), id="a login that is not taken"),
        pytest.param("aws", DeployError("the engine failed"), id="no lease: nobody to ask"),
        pytest.param("aws", EngineTimeoutError("was stopped"), id="no lease, and the engine hangs"),
    ],
)
def test_what_the_engine_left_is_forgotten_only_where_someone_was_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cloud: str, error: DeployError
) -> None:
    """An engine that hung in a checkout without a lease: the stack was forgotten while it ran."""
    stack, host = HeldStack(fails=error), Host([])
    wire(monkeypatch, stack, host)
    monkeypatch.setattr(down, "cloud_of", lambda _stack: cloud)
    monkeypatch.setattr(down, "known_placement", lambda *_asked: None)

    with pytest.raises(DeployError, match=str(error)):
        tear_down("one")

    assert written(tmp_path)["ok"] is False
    assert not stack.removed
    assert stack.let_go is (cloud == "aws"), "a disk that an earlier file said to keep"


def test_what_could_not_be_asked_is_named_and_nothing_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A later `down`, with the permission, finishes."""
    line = "not known: bucket in ap-northeast-2: AWS ListBuckets: is not allowed; ask for s3:ListAllMyBuckets"
    stack, host = HeldStack(), Host([line], stays=True)
    wire(monkeypatch, stack, host)
    key = stack_state_dir("one") / "id_ed25519"
    key.touch()

    with pytest.raises(DeployError, match="some kinds could not be queried; get the permissions that") as told:
        tear_down("one")

    assert line in told.value.detail
    assert written(tmp_path) == {"ok": False, "destroyed": ["one-1"], "left": [line], **OURS}
    assert key.exists()
    assert not stack.removed

    host.left = []
    tear_down("one")
    assert not key.exists()


@pytest.mark.parametrize("error", [DeployError("not gone after 60 s"), HostError("no answer")])
def test_what_was_cut_off_holds_up_no_destroy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: DeployError
) -> None:
    """The look for it stands before the destroy, and one denied list ended all: a machine ran on."""
    stack = HeldStack()
    wire(monkeypatch, stack, Host([]))

    def fail(*_asked: Any) -> None:
        raise error

    monkeypatch.setattr(down, "recover", fail)

    tear_down("one")

    assert f"{error}; continuing" in capsys.readouterr().err
    assert stack.limit_s


def test_a_state_that_cannot_be_read_leaves_the_placement_that_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    wire(monkeypatch, HeldStack(), Host([]))

    def fail(*_asked: Any) -> None:
        raise DeployError("does the backend answer?")

    monkeypatch.setattr(down, "known_placement", fail)

    tear_down("one")


def test_with_a_login_to_another_account_nothing_is_touched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """To that login nothing is there: all was taken for gone, and the stack forgotten while it ran on."""
    stack = HeldStack()
    wire(monkeypatch, stack, Host([]))

    def refuse(_cloud: str, _placement: Placement | None) -> None:
        raise UsageError("belong to another account")

    monkeypatch.setattr(down, "refuse_other_login", refuse)
    key = stack_state_dir("one") / "id_ed25519"
    key.touch()

    with pytest.raises(UsageError, match="belong to another account"):
        tear_down("one")

    assert not stack.limit_s, "the engine was not asked"
    assert written(tmp_path)["ok"] is False
    assert key.exists()


def test_an_engine_that_takes_too_long_is_stopped_and_the_rest_removed_without_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its state still names what the cloud says is gone."""
    stack, host = HeldStack(fails=EngineTimeoutError("was stopped")), Host(["instance i-1"])
    wire(monkeypatch, stack, host)

    tear_down("one")

    assert written(tmp_path) == {"ok": True, "destroyed": [], "left": [], **OURS}
    assert stack.removed == "with resources"
    assert DOWN_S - CLOUD_S - 1 < stack.limit_s <= DOWN_S - CLOUD_S
    assert host.deadline_s <= DOWN_S - LAST_LOOK_S


def test_a_host_that_cannot_be_asked_is_no_success(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host = Host([])

    def mute(_cloud: str, _stack: str) -> list[str]:
        raise HostError("nft does not answer")

    monkeypatch.setattr(host, "find", mute)
    wire(monkeypatch, HeldStack(), host)

    with pytest.raises(HostError, match="nft does not answer"):
        tear_down("one")

    assert written(tmp_path) == {
        "ok": False,
        "destroyed": ["one-1"],
        "left": ["not known: nft does not answer"],
        **OURS,
    }


def test_a_cloud_that_does_not_answer_holds_up_no_teardown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host, end = Host([]), threading.Event()

    def hang(_cloud: str, _stack: str) -> list[str]:
        end.wait()
        return []

    monkeypatch.setattr(host, "find", hang)
    monkeypatch.setattr(down, "DOWN_S", 0.2)
    monkeypatch.setattr(down, "LAST_LOOK_S", 0.1)
    stack = HeldStack()
    wire(monkeypatch, stack, host)
    try:
        with pytest.raises(DeployError, match="cloud local: no answer within"):
            tear_down("one")
    finally:
        end.set()

    assert written(tmp_path)["left"] == ["not known: cloud local: no answer within 0 s; check the network"]
    assert not stack.removed, "it can be run again"


@pytest.mark.parametrize(
    ("name", "words"), [("nonesuch", "there is no stack nonesuch"), ("../evil", "is not a stack name")]
)
def test_a_stack_that_never_was_is_a_usage_error(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        cloud_of(name)

    assert not (tmp_path / "state" / "stacks").exists()


def test_the_copy_of_the_last_run_names_the_cloud() -> None:
    copy = stack_state_dir("gone") / "project" / "Pulumi.gone.yaml"
    copy.parent.mkdir()
    copy.write_text("config: {llm-deploy:deployment: {cloud: existing}}\nencryptionsalt: v1:abc\n")

    assert cloud_of("gone") == "existing"
