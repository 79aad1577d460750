"""Repair of an interrupted installation. tests/machine/test_apt_cut_off.py tests its effect."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from provisioning.converge.agent import dpkg, process
from provisioning.converge.agent.kinds import packages

STATES = """\
install\tok\tinstalled\tcurl\t7.88
install\treinstreq\thalf-installed\tlibnvidia-compute-580:amd64\t580.159.04-1ubuntu1
install\tok\thalf-configured\tnvidia-dkms-580-open\t580.159.04-1ubuntu1
deinstall\treinstreq\thalf-installed\tnano\t7.2
install\tok\ttriggers-pending\tman-db\t2.11
deinstall\tok\tconfig-files\reported\t1
unknown\tok\tnot-installed\tnever\t
"""


class Played:
    """Answers like dpkg and apt, and records their calls."""

    def __init__(self, listing: str, *, has: Sequence[str] = (), said: dict[str, list[tuple[int, str]]] | None = None):
        self.listing, self.has, self.said = listing, has, said or {}
        self.asked: list[str] = []

    def __call__(self, argv: Sequence[str]) -> tuple[int, str]:
        words = " ".join(argv)
        self.asked.append(words)
        if tuple(argv) == dpkg.TORN:
            return 0, self.listing
        if argv[0] == "sh":
            folder, name = argv[-2:]
            if name in self.has:
                Path(folder, "package.deb").touch()
            return 0, ""
        for part, answers in self.said.items():
            if part in words and answers:
                return answers.pop(0)
        return 0, ""

    def dpkg(self) -> list[str]:
        """Return the calls of dpkg, without its options for configuration files."""
        keep = " ".join(dpkg.KEEP_OURS)
        return [each.replace(f"dpkg {keep} ", "") for each in self.asked if each.startswith("dpkg ")]


def test_a_half_unpacked_package_is_unpacked_again_before_the_rest_is_configured() -> None:
    """Only `dpkg --configure -a` was tried: such a package stayed, and every later run failed on it."""
    host = Played(STATES, has=["libnvidia-compute-580:amd64=580.159.04-1ubuntu1"])
    assert dpkg.mend(host) == ""
    calls = host.dpkg()
    assert calls[0] == "--audit"
    assert calls[1].startswith("--unpack --force-depends --force-downgrade /tmp/llm-deploy-debs-")
    assert calls[2:] == ["--remove --force-remove-reinstreq --force-depends nano", "--configure -a"]


def test_a_broken_package_is_found_among_any_number_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the end of a program's output is kept: on a host with 1,300 packages the first were never seen."""
    rows = [
        "install\treinstreq\thalf-installed\taaa\t1",
        *(f"install\tok\tinstalled\tlib{n}\t1.2.3" for n in range(9000)),
    ]
    (tmp_path / "listing").write_text("".join(f"{row}\n" for row in rows))
    (tmp_path / "dpkg-query").write_text(f"#!/bin/sh\ncat {tmp_path}/listing\n")
    (tmp_path / "dpkg-query").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert dpkg.torn(process.run(dpkg.TORN).output) == [("install", "aaa", "1")]


def test_another_version_is_accepted_and_an_unavailable_one_is_reported() -> None:
    assert dpkg.mend(Played(STATES, has=["libnvidia-compute-580:amd64"])) == ""
    left = dpkg.mend(Played(STATES))
    words = "libnvidia-compute-580:amd64: the installation was interrupted, and no apt source has this package"
    assert left.startswith(words)
    assert "\n" not in left
    gone = Played(STATES)
    assert dpkg.mend(gone, removed=["libnvidia-compute-580"]) == ""
    assert "--remove --force-remove-reinstreq --force-depends libnvidia-compute-580:amd64" in gone.dpkg()


def test_the_repair_waits_for_locks_of_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """For example of unattended-upgrades: unlike apt, dpkg itself fails at once."""
    monkeypatch.setattr(dpkg, "LOCK_POLL_S", 0)
    busy = (2, "dpkg: error: dpkg frontend lock was locked by another process with pid 7")
    host = Played("", said={"--configure": [busy, busy]})
    assert dpkg.mend(host) == ""
    assert host.dpkg() == ["--audit", "--configure -a", "--configure -a", "--configure -a"]
    shown = [
        each
        for each in host.asked
        if each.endswith("waits: dpkg: error: dpkg frontend lock was locked by another process with pid 7")
    ]
    assert len(shown) == 2


def test_updates_that_dpkg_cannot_read_are_moved_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves such files: dpkg then refuses everything, even to list installed packages."""
    updates = tmp_path / "updates"
    updates.mkdir()
    (updates / "0003").write_text("Package: foo\nStat")
    monkeypatch.setattr(dpkg, "UPDATES", str(updates))
    monkeypatch.setattr(dpkg, "ASIDE", str(tmp_path / "aside"))
    unreadable = "dpkg: error: parsing file '/var/lib/dpkg/updates/0003' near line 1 package 'foo':\n end of file after"
    assert dpkg.mend(Played("", said={"--audit": [(2, unreadable)]})) == ""
    assert list(updates.iterdir()) == []
    assert (tmp_path / "aside/dpkg-update-0003").read_text() == "Package: foo\nStat"


def test_a_package_that_must_be_unpacked_again_is_not_installed() -> None:
    seen = packages.states("curl installed ok\nbc installed reinstreq\nnano half-configured ok\n")
    assert seen == {"curl": "installed", "bc": "half-installed", "nano": "half-configured"}


NO_CANDIDATE = "E: Unable to locate package haproxy\n"
DEAD = (
    "Err:5 http://dead.example jammy InRelease\nW: Failed to fetch http://dead.example/InRelease  Could not resolve\n"
)
HELD = """\
The following held packages will be changed:
  libc6 locales
E: Held packages were changed and -y was used without --allow-change-held-packages.
"""


@pytest.mark.parametrize(
    ("said", "left", "words"),
    [
        (
            [DEAD, NO_CANDIDATE],
            "",
            "apt-get failed: W: Failed to fetch http://dead.example/InRelease  Could not resolve",
        ),
        ([DEAD, "E: Sub-process /usr/bin/dpkg returned an error code (1)"], "", "apt-get failed: E: Sub-process"),
        ([DEAD, HELD], "", "Packages on hold: libc6 locales; `apt-mark unhold` lets them change"),
        (["dpkg: error processing\n cannot copy: No space left on device\n"], "", "failed: cannot copy: No space left"),
        (["E: Sub-process failed"], "foo: cut off", "apt-get failed: foo: cut off"),
        (["E: Release file for http://a is not valid yet"], "", "not valid yet; the host's clock is behind"),
        ([""], "", "apt-get failed: see its output"),
    ],
    ids=["not-found", "foreign-source-and-another-error", "held", "full-disk", "unmendable", "clock", "silent"],
)
def test_the_relevant_error_is_the_cause(said: list[str], left: str, words: str) -> None:
    assert words in packages._cause(said, left)


def test_unreadable_foreign_sources_are_warnings() -> None:
    unsigned = "E: The repository 'http://dead.example jammy Release' is not signed.\n"
    assert packages._complaints([DEAD + unsigned, ""], 0) == [DEAD.splitlines()[1], unsigned.strip()]
    assert packages._complaints(["dpkg: error processing package theirs (--configure):\n"], 100) == [
        "dpkg: error processing package theirs (--configure):"
    ]
