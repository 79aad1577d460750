"""New firewall rules count only when a new connection has come in under them; else the former ones return."""

import hashlib
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provisioning.programs import firewall_trial as trial
from tests.gateways import wait_for

UNIT = "llm-firewall.service"


class Host:
    """What the programs that a trial calls did; loading copies the rules file to `kernel`."""

    def __init__(self, folder: Path) -> None:
        self.rules = folder / "firewall.nft"
        self.kernel: str | None = None
        self.ran: list[str] = []

    def run(self, argv: list[str], **_: Any) -> SimpleNamespace:
        self.ran.append(" ".join(argv))
        status = 0
        if argv[:2] == [trial.NFT_RULES, "load"]:
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
    """Do something once the settling says that it waits."""
    said = ""

    def watch() -> None:
        def waits() -> bool:
            nonlocal said
            said += capsys.readouterr().out
            return "waiting for a new connection" in said

        wait_for(waits, "the settling waits")
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_rules_that_are_there_need_no_trial(host: Host) -> None:
    host.load("old")
    assert host.same("old")
    assert not host.same("new")
    assert host.begin() == 0
    assert host.same("new")  # as it has begun


def test_confirmed_rules_stay(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.load("old")
    host.begin()
    timer = "systemd-run --quiet --collect --unit=llm-firewall-return --on-active=60"
    assert f"{timer} {trial.PROGRAM} return" in host.ran
    host.load("new")
    assert not host.settled()
    thread = meanwhile(trial.confirm, capsys)
    assert host.settle() == 0
    thread.join()
    assert host.settled()
    assert trial.bring_back() == 0  # the timer, late
    assert (host.rules.read_text(), host.kernel) == ("new", "new")


@pytest.mark.parametrize("former", ["old", None], ids=["a change", "the first rules of the host"])
def test_rules_that_nobody_confirms_go(host: Host, former: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """A WireGuard port was closed, and who came by it was locked out for good."""
    if former is not None:
        host.load(former)
    host.begin()
    host.load("new")
    thread = meanwhile(trial.bring_back, capsys)  # as the timer does, whether the session lives or not
    assert host.settle() == 1
    thread.join()
    assert "no new SSH connection was possible" in capsys.readouterr().out
    assert host.kernel == former
    assert (host.rules.read_text() if host.rules.exists() else None) == former
    assert (f"systemctl disable --now {UNIT}" in host.ran) == (former is None)


def test_trial_ends_without_its_timer_too(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert host.rules.read_text() == "new"  # the same boot: it is the unit's start within the trial
    trial.BOOT_ID.write_text("second\n")
    trial.boot()
    assert host.rules.read_text() == left
    assert trial.state() is None


def test_trial_after_one_that_was_cut_off_returns_to_what_was_before_both(host: Host) -> None:
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
