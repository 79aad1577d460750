"""Recorded releases of an engine: none older than one that answered, only the last two kept."""

import itertools
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from provisioning.programs.engine import engine_release

UNIT = "double.service"


class Host:
    """Releases beside a link, and the unit that runs from it."""

    def __init__(self, folder: Path) -> None:
        self.units = folder / "units"
        self.units.mkdir()
        self.notes = folder / "notes"
        self.link = folder / "data" / "engine"
        self.link.parent.mkdir()

    def install(self, version: str) -> None:
        """Create what a role creates: a folder, the link, the unit file."""
        (self.link.parent / f"engine-{version}").mkdir(exist_ok=True)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(f"engine-{version}")
        (self.units / UNIT).write_text(f"[Service]\nEnvironment=VERSION={version}\n")

    def call(self, verb: str, version: str = "") -> int:
        """Call the program."""
        words = {"may": [version], "return": [str(self.link)]}.get(verb, [str(self.link), version])
        return engine_release.main(verb, UNIT, *words)

    @property
    def folders(self) -> set[str]:
        return {path.name.removeprefix("engine-") for path in self.link.parent.iterdir() if not path.is_symlink()}

    @property
    def note(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.notes / f"{UNIT}.json").read_text())
        return content


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    monkeypatch.setattr(engine_release, "NOTES", made.notes)
    monkeypatch.setattr(engine_release, "UNITS", made.units)
    return made


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments of systemctl; every start succeeds."""
    calls: list[list[str]] = []

    class Done:
        returncode = 0

    def systemctl(argv: list[str], **_: Any) -> Done:
        calls.append(argv)
        return Done()

    monkeypatch.setattr(subprocess, "run", systemctl)
    return calls


ORDER = [
    "0.9.2",
    "0.10.0rc1",
    "0.10.0",
    "0.10.0.post1",
    "0.10.1",
    "0.24",
    "1.0.0-rc2",
    "v1.0.0",
    "1.0.1.dev3",
    "1.0.1",
    "10.0",
]


@pytest.mark.parametrize(("older", "newer"), list(itertools.pairwise(ORDER)))
def test_versions_are_ordered_as_people_order_them(older: str, newer: str) -> None:
    assert engine_release.order(older) < engine_release.order(newer)


@pytest.mark.parametrize(("version", "status"), [("0.31.9", 1), ("0.32.0rc1", 1), ("0.32.0", 0), ("0.32.1", 0)])
def test_only_versions_older_than_one_that_answered_are_refused(
    host: Host, capsys: pytest.CaptureFixture[str], version: str, status: int
) -> None:
    assert host.call("may", version) == 0  # nothing has answered here yet
    host.install("0.32.0")
    host.call("keep", "0.32.0")
    assert host.call("may", version) == status
    command = "make upgrade-engine ARGS=--allow-downgrade"
    refusal = f"version {version} is older than 0.32.0, which answered here; to go back, run {command}"
    assert (refusal in capsys.readouterr().out) is bool(status)


def test_the_release_before_the_present_one_is_kept_and_no_older_one(host: Host) -> None:
    for version in ("1", "2", "3"):
        host.install(version)
        assert host.call("kept", version) == 1
        assert host.call("keep", version) == 0
        assert host.call("kept", version) == 0
    assert host.folders == {"2", "3"}
    assert (host.note["good"]["version"], host.note["former"]["version"]) == ("3", "2")


def test_archives_of_removed_releases_are_removed(host: Host) -> None:
    """Ollama's archives are beside its link: a fetched file, or a sent folder."""
    archives = host.link.parent / "archives"
    for version in ("1", "2", "3", "11"):
        host.install(version)
        (archives / f"engine-{version}").mkdir(parents=True)
        (archives / f"ollama-engine-{version}.tar.zst").touch()
        host.call("keep", version)
    kept = {path.name for path in archives.iterdir()}
    assert kept == {"engine-3", "ollama-engine-3.tar.zst", "engine-11", "ollama-engine-11.tar.zst"}


def test_another_unit_file_of_the_same_release_is_recorded(host: Host) -> None:
    host.install("1")
    host.call("keep", "1")
    (host.units / UNIT).write_text("[Service]\nEnvironment=MORE=1\n")
    assert host.call("kept", "1") == 1
    host.call("keep", "1")
    assert "MORE" in host.note["good"]["unit"]
    assert host.note["former"] is None


def test_a_return_brings_back_folder_and_unit_file(host: Host, said: list[list[str]]) -> None:
    host.install("1")
    host.call("keep", "1")
    host.install("2")
    assert host.call("return") == 0
    assert host.link.readlink() == Path("engine-1")
    assert "VERSION=1" in (host.units / UNIT).read_text()
    assert [call[1] for call in said] == ["daemon-reload", "reset-failed", "restart"]
    assert host.folders == {"1", "2"}  # the failed release stays for inspection until the next release answers
    host.install("3")
    host.call("keep", "3")
    assert host.folders == {"1", "3"}


def test_a_second_failure_still_returns_to_the_release_that_answered(host: Host, said: list[list[str]]) -> None:
    """Not to the release that failed before, which an interrupted upgrade had left in place."""
    host.install("1")
    host.call("keep", "1")
    host.install("2")
    host.install("3")
    host.call("return")
    assert host.link.readlink() == Path("engine-1")
    assert said


@pytest.mark.parametrize("case", ["never answered", "the same release", "its folder is gone", "note cut off"])
def test_there_may_be_nothing_to_return_to(host: Host, said: list[list[str]], case: str) -> None:
    host.install("1")
    if case != "never answered":
        host.call("keep", "1")
    if case == "its folder is gone":
        host.install("2")
        (host.link.parent / "engine-1").rmdir()
    if case == "note cut off":
        host.install("2")
        (host.notes / f"{UNIT}.json").write_text("{")
    assert host.call("return") == engine_release.NOTHING_TO_RETURN_TO
    assert said == []


def test_an_explicit_downgrade_keeps_the_newer_release(host: Host) -> None:
    for version in ("1", "2", "1"):
        host.install(version)
        host.call("keep", version)
    assert host.folders == {"1", "2"}
    assert (host.note["good"]["version"], host.note["former"]["version"]) == ("1", "2")
