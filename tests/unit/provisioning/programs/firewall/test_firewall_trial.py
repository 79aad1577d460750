"""New firewall rules stay only after a new connection came in under them; otherwise the previous ones return."""

import hashlib
import inspect
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provisioning.converge.agent.process import run
from provisioning.programs.firewall import firewall_trial as trial
from tests.gateways import wait_for

UNIT = "llm-firewall.service"


class Host:
    """The actions of the programs that a trial calls; loading copies the rules file to `kernel`."""

    def __init__(self, folder: Path) -> None:
        self.rules = folder / "firewall.nft"
        self.kernel: str | None = None
        self.ran: list[str] = []
        self.loads = True
        """Whether nft accepts the rules file."""

    def run(self, argv: list[str], **_: Any) -> SimpleNamespace:
        self.ran.append(" ".join(argv))
        status = 0
        if argv[:2] == [trial.NFT_RULES, "load"]:
            if not self.loads or not self.rules.exists():
                return SimpleNamespace(returncode=1)
            self.kernel = self.rules.read_text()
        elif argv[:2] == [trial.NFT_RULES, "drop"]:
            self.kernel = None
        elif argv[:2] == [trial.NFT_RULES, "check"]:
            there = self.rules.read_text() if self.rules.exists() else None
            status = 0 if self.kernel is not None and self.kernel == there else 1
        return SimpleNamespace(returncode=status)

    def load(self, text: str) -> None:
        self.rules.write_text(text)
        self.kernel = text

    def begin(self) -> int:
        return trial.begin(str(self.rules), "llm_deploy", UNIT)

    def same(self, text: str) -> bool:
        return trial.same(str(self.rules), hashlib.sha256(text.encode()).hexdigest()) == 0

    def settle(self) -> int:
        return trial.settle(str(self.rules), "llm_deploy")

    def settled(self) -> bool:
        return trial.settled(str(self.rules), "llm_deploy") == 0


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    monkeypatch.setattr(trial, "STATE", tmp_path / "state" / "trial.json")
    monkeypatch.setattr(trial, "BOOT_ID", tmp_path / "boot_id")
    monkeypatch.setattr(trial, "POLL_S", 0.01)
    monkeypatch.setattr(trial, "subprocess", SimpleNamespace(run=made.run, DEVNULL=subprocess.DEVNULL))
    (tmp_path / "boot_id").write_text("first\n")
    return made


def meanwhile(act: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> threading.Thread:
    """Do something after the program has printed that it waits."""
    said = ""

    def watch() -> None:
        def waits() -> bool:
            nonlocal said
            said += capsys.readouterr().out
            return "waiting for a new connection" in said

        wait_for(waits, "the trial waits")
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_present_rules_need_no_trial(host: Host) -> None:
    host.load("old")
    assert host.same("old")
    assert not host.same("new")
    assert host.begin() == 0
    assert host.same("new")  # as it has begun


def test_confirmed_rules_stay(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.load("old")
    host.begin()
    timer = f"systemd-run --quiet --collect --unit=llm-firewall-return --on-active={trial.RETURN_S}"
    assert f"{timer} --timer-property=AccuracySec=1s {trial.PROGRAM} return" in host.ran
    host.load("new")
    assert not host.settled()
    thread = meanwhile(trial.confirm, capsys)
    assert host.settle() == 0
    thread.join()
    assert host.settled()
    assert trial.bring_back() == 0  # the timer, late
    assert (host.rules.read_text(), host.kernel) == ("new", "new")


@pytest.mark.parametrize("former", ["old", None], ids=["a change", "the first rules of the host"])
def test_unconfirmed_rules_are_removed(host: Host, former: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """A WireGuard port was closed, and its users were locked out permanently."""
    if former is not None:
        host.load(former)
    host.begin()
    host.load("new")
    thread = meanwhile(trial.bring_back, capsys)  # like the timer, whether the session is alive or not
    assert host.settle() == 1
    thread.join()
    assert "no new SSH connection was possible" in capsys.readouterr().out
    assert host.kernel == former
    assert (host.rules.read_text() if host.rules.exists() else None) == former
    assert (f"systemctl disable --now {UNIT}" in host.ran) == (former is None)


def test_a_trial_also_ends_without_its_timer(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "TRIAL_S", -5)
    host.load("old")
    host.begin()
    host.load("new")
    assert host.settle() == 1
    assert host.kernel == "old"


@pytest.mark.parametrize(("confirmed", "left"), [(False, "old"), (True, "new")])
def test_reboot_ends_a_trial(host: Host, confirmed: bool, left: str) -> None:
    host.load("old")
    host.begin()
    host.load("new")
    if confirmed:
        trial.confirm()
    assert trial.boot() == 0
    assert host.rules.read_text() == "new"  # the same boot: this is the unit's start during the trial
    trial.BOOT_ID.write_text("second\n")
    trial.boot()
    assert host.rules.read_text() == left
    assert trial.state() is None


def test_a_trial_after_an_interrupted_one_returns_to_the_rules_before_both(host: Host) -> None:
    host.load("old")
    host.begin()
    host.load("new")
    host.begin()
    host.load("newer")
    trial.bring_back()
    assert (host.rules.read_text(), host.kernel) == ("old", "old")


def test_without_its_timer_no_trial_begins(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.load("old")
    refuses = SimpleNamespace(run=lambda *_, **__: SimpleNamespace(returncode=1), DEVNULL=subprocess.DEVNULL)
    monkeypatch.setattr(trial, "subprocess", refuses)
    assert host.begin() != 0
    assert trial.state() is None


def test_rules_that_the_kernel_lost_are_loaded_without_a_trial(host: Host) -> None:
    host.load("old")
    assert host.settled()
    host.kernel = None
    assert not host.settled()
    assert host.settle() == 0
    assert host.kernel == "old"


def test_the_timer_outlasts_all_steps_of_a_trial() -> None:
    """It ran for 60 s from `begin`: on a slow host it ended the trial before the rules were loaded."""
    check_s = reload_s = inspect.signature(run).parameters["timeout_s"].default
    assert check_s + reload_s + trial.TRIAL_S + 5 < trial.RETURN_S


@pytest.mark.parametrize("loads", [True, False])
def test_rules_are_loaded_before_a_new_connection_is_required(
    host: Host, loads: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The unit's reload had failed: the previous rules let the connection in, and the new ones got no trial."""
    host.load("old")
    host.begin()
    host.rules.write_text("new")
    assert trial.confirm() == 1
    host.loads = loads
    seen: list[str | None] = []
    if not loads:
        assert host.settle() == 1
        assert host.rules.read_text() == host.kernel == "old"
        assert "could not be loaded" in capsys.readouterr().out
        return

    def connected() -> None:
        seen.append(host.kernel)
        trial.confirm()

    thread = meanwhile(connected, capsys)
    assert host.settle() == 0
    thread.join()
    assert seen == ["new"]
    assert host.kernel == "new"


@pytest.mark.parametrize("former", ["old", None])
def test_refused_rules_need_no_trial_and_no_second_failure(host: Host, former: str | None) -> None:
    """If the first rules of a host were refused, loading the missing file failed too."""
    if former is not None:
        host.load(former)
    host.begin()
    assert host.settle() == 0
    assert trial.state() is None
    assert host.settled()
    assert host.kernel == former


def test_slow_systemd_and_a_stepped_clock_do_not_fail_the_start_of_a_trial(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time was taken from the wall clock, and before systemd-run: a slow host failed its check."""
    clock = SimpleNamespace(now=1000.0, wall=0.0)
    monkeypatch.setattr(trial, "time", SimpleNamespace(monotonic=lambda: clock.now, time=lambda: clock.wall))

    def slow(argv: list[str], **words: Any) -> SimpleNamespace:
        clock.now += 30 if argv[0] == "systemd-run" else 0
        return host.run(argv, **words)

    monkeypatch.setattr(trial, "subprocess", SimpleNamespace(run=slow, DEVNULL=subprocess.DEVNULL))
    host.load("old")
    assert host.begin() == 0
    clock.now += 15
    clock.wall += 86_400
    assert host.same("new")
    clock.now += 10
    assert not host.same("new")
    trial.BOOT_ID.write_text("second\n")
    clock.now = 1030.0
    assert not host.same("new")


def test_an_interrupted_trial_begins_again_even_if_its_rules_are_present(host: Host) -> None:
    """Its timer may restore the previous rules at any moment, while the run would report the new ones."""
    host.load("old")
    host.begin()
    host.load("new")
    trial.write({**(trial.state() or {}), "begun_s": -1000.0})
    assert not host.same("new")
    host.begin()
    assert "systemctl stop llm-firewall-return.timer llm-firewall-return.service" in host.ran
    assert host.same("new")
    trial.bring_back()
    assert host.kernel == "old"
