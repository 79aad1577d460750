"""New sshd settings stay only if a second login works; in all other cases the old ones return."""

import contextlib
import inspect
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from provisioning.converge.agent import process
from provisioning.converge.agent.confirm import WireConfirm
from provisioning.converge.agent.converge import read_resources
from provisioning.converge.agent.events import Cut, Events, Failure
from provisioning.converge.agent.host import Host
from provisioning.converge.agent.kinds import sshd_file
from provisioning.converge.agent.process import Done
from provisioning.converge.payload import payload_of
from provisioning.converge.resources import SshdFile
from tests.unit.provisioning.converge.agent_runner import ME

OLD, NEW = "AllowUsers ann\n", "AllowUsers bob\n"
ACTIVE = {"ActiveState": "active", "UnitFileState": "enabled"}


class Systemd:
    """A double of the used parts of systemd; the script that restores a file really runs."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.units = {"ssh.service": ACTIVE, "ssh.socket": {"ActiveState": "inactive", "UnitFileState": "disabled"}}
        self.reloads = True
        self.kept: Path | None = None
        """The previous file, which the guard restores."""
        self.kept_while_guarded = False
        """Whether the previous file existed until the guard was stopped."""

    def run(self, argv: Sequence[str], **_: Any) -> Done:
        self.asked.append(tuple(argv))
        if argv[0] == "systemd-run":
            self.kept = Path(argv[-2])
        elif tuple(argv[:2]) == ("systemctl", "stop") and self.kept is not None:
            self.kept_while_guarded = self.kept.exists()
        if argv[0] == "sh":
            return self._real(argv)
        failed = "reload" in argv and not self.reloads
        return Done(argv, int(failed), "")

    def show(self, units: Sequence[str]) -> dict[str, dict[str, str]]:
        return {name: self.units[name] for name in units}

    @staticmethod
    def _real(argv: Sequence[str]) -> Done:
        return Done(argv, subprocess.run(argv, stderr=subprocess.DEVNULL, check=False).returncode, "")

    def guard(self, path: Path) -> None:
        """Act like the timer."""
        self._real(["sh", "-c", sshd_file.RESTORE, "restore", sshd_file.before_path(str(path)), str(path)])

    @property
    def guarded(self) -> bool:
        """Whether a systemd timer would restore the file."""
        began = [index for index, argv in enumerate(self.asked) if argv[0] == "systemd-run"]
        ended = [index for index, argv in enumerate(self.asked) if argv[:2] == ("systemctl", "stop")]
        return bool(began) and max(began) > max(ended, default=-1)


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> Systemd:
    played = Systemd()
    monkeypatch.setattr(sshd_file, "run", played.run)
    monkeypatch.setattr(sshd_file, "show", played.show)
    monkeypatch.setattr(sshd_file, "RELOAD_SETTLE_S", 0)
    return played


def bring(path: Path, confirm: Callable[[str, float], str], content: str = NEW, check: tuple[str, ...] = ()) -> None:
    """Install the file like a run of the agent."""
    resource = SshdFile(path=str(path), content=content, check=check, **ME)
    (wanted,) = read_resources(payload_of([resource], dry_run=False).document["resources"], lambda _: None)
    nothing: Any = None
    host = Host(nothing, nothing, nothing, (), confirm)
    (fact,) = sshd_file.look([wanted], host)()
    changes = sshd_file.plan(wanted, fact)
    if changes:
        sshd_file.apply(wanted, fact, changes, host)


def left(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@pytest.mark.parametrize("before", [OLD, None])
def test_settings_that_let_a_second_login_in_stay(tmp_path: Path, systemd: Systemd, before: str | None) -> None:
    path = tmp_path / "10-x.conf"
    if before:
        path.write_text(before)
    seen = []
    bring(path, lambda *_: seen.append((path.read_text(), systemd.guarded)) or "")  # type: ignore[func-returns-value]
    assert seen == [(NEW, True)]  # in force, and guarded, while it was tried
    assert path.read_text() == NEW
    assert left(tmp_path) == ["10-x.conf"]
    assert not systemd.guarded
    bring(path, lambda *_: pytest.fail("nothing is to be confirmed"))


@pytest.mark.parametrize("before", [OLD, None])
def test_settings_that_shut_a_second_login_out_are_taken_back(
    tmp_path: Path, systemd: Systemd, before: str | None
) -> None:
    """An operator with six keys in the SSH agent could log in before our file was installed, and not after."""
    path = tmp_path / "10-x.conf"
    if before:
        path.write_text(before)
    with pytest.raises(Failure, match="was undone, because a second login failed"):
        bring(path, lambda *_: "a second login failed")
    assert (path.read_text() if path.exists() else None) == before
    assert left(tmp_path) == (["10-x.conf"] if before else [])
    assert not systemd.guarded


def test_a_lost_connection_restores_the_old_settings(tmp_path: Path, systemd: Systemd) -> None:
    path = tmp_path / "10-x.conf"
    path.write_text(OLD)

    def gone(*_: object) -> str:
        raise Cut()

    with pytest.raises(Cut):
        bring(path, gone)
    assert path.read_text() == OLD
    assert not systemd.guarded


def test_a_failed_reload_restores_the_old_settings(tmp_path: Path, systemd: Systemd) -> None:
    path = tmp_path / "10-x.conf"
    path.write_text(OLD)
    systemd.reloads = False
    with pytest.raises(Failure, match="could not be loaded; the old settings are in force, and `journalctl -u ssh`"):
        bring(path, lambda *_: "")
    assert path.read_text() == OLD


def test_a_reload_is_over_once_sshd_listens_on_new_sockets(
    tmp_path: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each first provision slept for a second here."""
    later = iter([{"old"}, {"old"}, set(), {"new"}])
    monkeypatch.setattr(sshd_file, "RELOAD_SETTLE_S", 3600)
    monkeypatch.setattr(sshd_file, "RELOAD_POLL_S", 0)
    monkeypatch.setattr(sshd_file, "listening", lambda _: next(later))
    bring(tmp_path / "10-x.conf", lambda *_: "" if systemd.guarded else "not guarded")
    assert list(later) == []


def test_sockets_on_which_a_process_listens_are_found() -> None:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        one.listen()
        other.bind(("127.0.0.1", 0))
        found = sshd_file.listening(str(os.getpid()))
        assert f"socket:[{os.fstat(one.fileno()).st_ino}]" in found
        assert f"socket:[{os.fstat(other.fileno()).st_ino}]" not in found


def test_a_hanging_reload_restores_the_old_settings(
    tmp_path: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file stayed until the guard ran."""
    path = tmp_path / "10-x.conf"
    path.write_text(OLD)

    def hangs() -> bool:
        raise Failure("`systemctl reload ssh.service` did not end within 60 s")

    monkeypatch.setattr(sshd_file, "_reload", hangs)
    with pytest.raises(Failure, match="did not end"):
        bring(path, lambda *_: "")
    assert path.read_text() == OLD
    assert left(tmp_path) == ["10-x.conf"]
    assert not systemd.guarded


def test_the_guard_outlasts_check_reload_and_second_login() -> None:
    """It ran after 120 s, and the three may take 181 s."""
    check_s = reload_s = inspect.signature(process.run).parameters["timeout_s"].default
    assert check_s + reload_s + sshd_file.RELOAD_SETTLE_S + sshd_file.CONFIRM_S + 30 < sshd_file.GUARD_S


@pytest.mark.parametrize("before", [OLD, None])
def test_settings_that_the_guard_undid_are_not_reported_as_confirmed(
    tmp_path: Path, systemd: Systemd, before: str | None
) -> None:
    """The second login worked under the old settings, and the run reported success while the file held those."""
    path = tmp_path / "10-x.conf"
    if before:
        path.write_text(before)

    def late(*_: object) -> str:
        systemd.guard(path)
        return ""

    with pytest.raises(Failure, match="was not confirmed within 240 s; the old settings are in force"):
        bring(path, late)
    assert (path.read_text() if path.exists() else None) == before
    assert not systemd.guarded


@pytest.mark.parametrize("before", [OLD, None])
def test_a_late_guard_keeps_confirmed_settings(tmp_path: Path, systemd: Systemd, before: str | None) -> None:
    """It treated a just removed backup as a missing previous file, and deleted the confirmed settings."""
    path = tmp_path / "10-x.conf"
    if before:
        path.write_text(before)
    bring(path, lambda *_: "")
    assert systemd.kept_while_guarded
    systemd.guard(path)
    assert path.read_text() == NEW


def test_the_guard_of_an_interrupted_run_may_run_between_check_and_change(
    tmp_path: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The previous file was assumed to be saved already, so there was nothing to restore."""
    path = tmp_path / "10-x.conf"
    path.write_text(NEW)
    Path(sshd_file.before_path(str(path))).write_text(OLD)
    plan = sshd_file.plan

    def late(wanted: Any, fact: Any) -> Any:
        systemd.guard(path)
        return plan(wanted, fact)

    monkeypatch.setattr(sshd_file, "plan", late)
    with pytest.raises(Failure, match="a second login failed"):
        bring(path, lambda *_: "a second login failed")
    assert path.read_text() == OLD
    assert left(tmp_path) == ["10-x.conf"]


def test_a_file_that_the_check_refuses_is_never_installed(tmp_path: Path, systemd: Systemd) -> None:
    path = tmp_path / "10-x.conf"
    path.write_text(OLD)
    with pytest.raises(Failure, match="the check of the new content failed"):
        bring(path, lambda *_: "", check=("false",))
    assert path.read_text() == OLD
    assert left(tmp_path) == ["10-x.conf"]
    assert not systemd.guarded


def test_an_agent_that_dies_meanwhile_leaves_the_old_file_for_the_guard_and_the_next_run(
    tmp_path: Path, systemd: Systemd
) -> None:
    path = tmp_path / "10-x.conf"
    path.write_text(OLD)

    class Killed(BaseException):
        """The end of the process."""

    def killed(*_: object) -> str:
        raise Killed()

    with pytest.raises(Killed):
        bring(path, killed)
    assert systemd.guarded
    assert path.read_text() == NEW
    with pytest.raises(Failure, match="was undone"):
        bring(path, lambda *_: "a second login failed")
    assert path.read_text() == OLD
    assert left(tmp_path) == ["10-x.conf"]


def test_a_service_that_its_socket_starts_is_not_reloaded(tmp_path: Path, systemd: Systemd) -> None:
    """Ubuntu 24.04: the service reads its files when somebody connects."""
    off = {"ActiveState": "inactive", "UnitFileState": "disabled"}
    systemd.units = {"ssh.service": off, "ssh.socket": ACTIVE}
    bring(tmp_path / "10-x.conf", lambda *_: "")
    assert [argv[1] for argv in systemd.asked if argv[0] == "systemctl"] == ["stop", "reset-failed", "stop"]


@contextlib.contextmanager
def asked(answer: bytes, *, patience_s: float = 10, ended: bool = False) -> Iterator[Callable[[], str]]:
    """Yield the query to a controller that has sent `answer`, and has closed the connection if `ended`."""
    to_agent, from_controller = os.pipe()
    heard, events_end = os.pipe()
    with os.fdopen(to_agent, "rb") as stream, os.fdopen(from_controller, "wb") as controller:
        controller.write(answer)
        controller.flush()
        if ended:
            controller.close()
        yield lambda: WireConfirm(Events(events_end, to_agent), stream)("sshd_file:x", patience_s)
    os.close(events_end)
    with os.fdopen(heard, "rb") as said:
        assert json.loads(said.readline()) == {"event": "confirm", "id": "sshd_file:x"}


@pytest.mark.parametrize("said", ["", "no answer within 10 s"])
def test_the_controllers_answer_is_used(said: str) -> None:
    with asked(json.dumps({"error": said}).encode() + b"\n") as ask:
        assert ask() == said


@pytest.mark.parametrize(("ended", "patience_s"), [(True, 10), (False, 0.1)])
def test_a_disconnected_or_silent_controller_is_a_cut(ended: bool, patience_s: float) -> None:
    with asked(b"", ended=ended, patience_s=patience_s) as ask, pytest.raises(Cut):
        ask()
