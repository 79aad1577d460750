"""`down` reports ok only after a query of the cloud, and keeps the stack while resources remain."""

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
from infra.automation.backend_lock import LockedError
from infra.automation.engine_errors import EngineTimeoutError
from infra.automation.events import Report
from infra.contract.stack_placement import Placement
from infra.lifecycle import commands, down
from infra.lifecycle.down import APPEAR_S, CLOUD_S, DOWN_S, LAST_LOOK_S, cloud_name_of, tear_down
from infra.lifecycle.orphans import remaining

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
    """The resources that the cloud still has; `remove` deletes them unless they stay."""

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
    monkeypatch.setattr(down, "cloud_name_of", lambda _stack: "local")


def wire(monkeypatch: pytest.MonkeyPatch, stack: HeldStack, host: Host) -> None:
    """Make `tear_down` use this stack and this host."""

    @contextmanager
    def hold(_name: str, _cloud: str, *, stop_earlier: bool) -> Iterator[HeldStack]:
        assert stop_earlier
        yield stack

    monkeypatch.setattr(down, "hold", hold)
    monkeypatch.setattr(down, "remaining", host)


def written(tmp_path: Path) -> Any:
    return json.loads((tmp_path / "runs/one/latest/teardown.json").read_text())


def test_down_removes_the_resources_and_the_stack_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stack = HeldStack()
    wire(monkeypatch, stack, Host([]))
    key = stack_state_dir("one") / "id_ed25519"
    key.touch()

    tear_down("one")

    assert written(tmp_path) == {"ok": True, "destroyed": ["one-1"], "left": [], **OURS}
    assert stack.removed == "empty"
    assert not key.parent.exists()


def test_down_keeps_the_keys_of_existing_hosts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hosts continue to serve with these keys."""
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


def test_down_with_a_kept_volume_removes_the_outputs_of_the_destroyed_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """With stale outputs the next `up` skipped preflight, and status and smoke called the address's new owner."""
    stack = HeldStack()
    wire(monkeypatch, stack, Host([], kept=("volume vol-1",)))
    folder = stack_state_dir("one")
    for name in ("outputs.json", "endpoint.json", "placement.json"):
        (folder / name).touch()

    tear_down("one")

    assert [path.name for path in folder.iterdir()] == ["placement.json"]
    assert not stack.removed, "the state still has the kept volume"


def test_hosts_stay_only_on_the_cloud_existing() -> None:
    assert [cloud for cloud in ("local", "aws", "gcp", "existing") if remaining.hosts_stay(cloud)] == ["existing"]


def test_down_removes_resources_that_the_state_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wire(monkeypatch, HeldStack(made=False), Host(["interface llm-1"]))

    tear_down("one")

    assert written(tmp_path) == {"ok": True, "destroyed": [], "left": [], **OURS}


def test_down_lists_remaining_resources_and_keeps_the_stack_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stack = HeldStack()
    wire(monkeypatch, stack, Host(["interface llm-1"], stays=True))
    key = stack_state_dir("one") / "id_ed25519"
    key.touch()

    with pytest.raises(DeployError, match="some resources remain") as caught:
        tear_down("one")

    assert "interface llm-1" in caught.value.detail
    assert written(tmp_path) == {"ok": False, "destroyed": ["one-1"], "left": ["interface llm-1"], **OURS}
    assert not stack.removed
    assert key.exists()


@pytest.mark.parametrize(
    ("cloud", "in_flight", "waits"),
    [
        pytest.param("aws", True, True, id="interrupted creation on AWS"),
        pytest.param("gcp", True, True, id="interrupted creation on GCP"),
        pytest.param("aws", False, False, id="no creation was pending"),
        pytest.param("local", True, False, id="this host answers at once"),
    ],
)
def test_down_removes_a_machine_that_appears_after_its_first_look(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cloud: str, in_flight: bool, waits: bool
) -> None:
    """`up` was killed just after its request for a machine: `down` found none, and the machine cost money."""
    stack, host = HeldStack(), Host([])
    stack.in_flight = in_flight
    wire(monkeypatch, stack, host)
    monkeypatch.setattr(down, "cloud_name_of", lambda _stack: cloud)
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


@pytest.mark.parametrize("stays", [False, True], ids=["removed", "stays"])
def test_down_removes_the_resources_if_the_engine_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], stays: bool
) -> None:
    """`down` once only listed the remaining resources, which continued to run."""
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
        pytest.param("local", LockedError("is locked by kim@far, process 7"), id="another user's lock"),
        pytest.param("local", UsageError("have expired"), id="an expired login"),
        pytest.param("aws", DeployError("the engine failed"), id="no placement, and the engine fails"),
        pytest.param("aws", EngineTimeoutError("was stopped"), id="no placement, and the engine hangs"),
    ],
)
def test_down_keeps_the_stack_if_neither_engine_nor_cloud_could_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cloud: str, error: DeployError
) -> None:
    """In a checkout without a placement `down` once forgot a running stack because the engine hung."""
    stack, host = HeldStack(fails=error), Host([])
    wire(monkeypatch, stack, host)
    monkeypatch.setattr(down, "cloud_name_of", lambda _stack: cloud)
    monkeypatch.setattr(down, "known_placement", lambda *_asked: None)

    with pytest.raises(DeployError, match=str(error)):
        tear_down("one")

    assert written(tmp_path)["ok"] is False
    assert not stack.removed
    assert stack.let_go is (cloud == "aws"), "on AWS an earlier stack file may have protected the disk"


def test_down_lists_kinds_it_could_not_query_and_keeps_the_stack_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A later `down` with the permission completes the teardown."""
    line = "not known: bucket in ap-northeast-2: AWS ListBuckets: is not allowed; ask for s3:ListAllMyBuckets"
    stack, host = HeldStack(), Host([line], stays=True)
    wire(monkeypatch, stack, host)
    key = stack_state_dir("one") / "id_ed25519"
    key.touch()

    with pytest.raises(DeployError, match="some kinds could not be queried; get the permissions that") as caught:
        tear_down("one")

    assert line in caught.value.detail
    assert written(tmp_path) == {"ok": False, "destroyed": ["one-1"], "left": [line], **OURS}
    assert key.exists()
    assert not stack.removed

    host.left = []
    tear_down("one")
    assert not key.exists()


@pytest.mark.parametrize("error", [DeployError("resources still exist after 60 s"), HostError("no answer")])
def test_a_failed_recovery_does_not_stop_the_destroy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: DeployError
) -> None:
    """Recovery runs before the destroy; one denied list once ended `down`, and a machine continued to run."""
    stack = HeldStack()
    wire(monkeypatch, stack, Host([]))

    def fail(*_asked: Any) -> None:
        raise error

    monkeypatch.setattr(down, "recover", fail)

    tear_down("one")

    assert f"{error}; continuing" in capsys.readouterr().err
    assert stack.limit_s


def test_down_continues_if_the_state_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    wire(monkeypatch, HeldStack(), Host([]))

    def fail(*_asked: Any) -> None:
        raise DeployError("does the backend answer?")

    monkeypatch.setattr(down, "known_placement", fail)

    tear_down("one")


def test_down_under_another_account_removes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That login sees no resources, so `down` once forgot a stack that continued to run."""
    stack = HeldStack()
    wire(monkeypatch, stack, Host([]))

    def refuse(_cloud: str, _placement: Placement | None) -> None:
        raise UsageError("belong to another account")

    monkeypatch.setattr(down, "refuse_other_login", refuse)
    key = stack_state_dir("one") / "id_ed25519"
    key.touch()

    with pytest.raises(UsageError, match="belong to another account"):
        tear_down("one")

    assert not stack.limit_s, "the engine must not run"
    assert written(tmp_path)["ok"] is False
    assert key.exists()


def test_down_stops_a_slow_engine_and_removes_the_rest_without_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The state still names resources that the cloud has removed."""
    stack, host = HeldStack(fails=EngineTimeoutError("was stopped")), Host(["instance i-1"])
    wire(monkeypatch, stack, host)

    tear_down("one")

    assert written(tmp_path) == {"ok": True, "destroyed": [], "left": [], **OURS}
    assert stack.removed == "with resources"
    assert DOWN_S - CLOUD_S - 1 < stack.limit_s <= DOWN_S - CLOUD_S
    assert host.deadline_s <= DOWN_S - LAST_LOOK_S


def test_down_fails_if_the_host_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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


def test_down_ends_at_its_deadline_if_the_cloud_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
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
    assert not stack.removed, "a second down must find the stack"


@pytest.mark.parametrize(
    ("name", "words"), [("nonesuch", "there is no stack nonesuch"), ("../evil", "is not a stack name")]
)
def test_an_unknown_stack_is_a_usage_error(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        cloud_name_of(name)

    assert not (tmp_path / "state" / "stacks").exists()


def test_the_cloud_is_read_from_the_stack_file_of_the_last_run() -> None:
    copy = stack_state_dir("gone") / "project" / "Pulumi.gone.yaml"
    copy.parent.mkdir()
    copy.write_text("config: {llm-deploy:deployment: {cloud: existing}}\nencryptionsalt: v1:abc\n")

    assert cloud_name_of("gone") == "existing"
