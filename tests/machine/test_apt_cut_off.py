"""The next run completes an installation killed at any moment: real apt and dpkg, packages made here."""

import json
from pathlib import Path

from infra.contract.outputs import HostRecord
from provisioning.converge.agent_zip import agent_zip
from provisioning.converge.resources import Packages, Resource, Tree
from tests.machine import apt_cut_off
from tests.machine.converge_host import bring, remote

PLACE = "/opt/apt-cut-off"
ROUNDS = 20


def test_an_installation_killed_at_any_moment_is_completed_by_the_next_run(machine: HostRecord, tmp_path: Path) -> None:
    """A package that dpkg was unpacking stayed "in a very bad inconsistent state", and every later run failed.

    Agent, apt and dpkg are killed together after apt has called dpkg, to install and to remove in turn. The run after
    each kill must complete it. Only the machine's speed changes the moments between test runs.
    """
    (tmp_path / "agent.pyz").write_bytes(agent_zip())
    (tmp_path / "program.py").write_text(Path(apt_cut_off.__file__).read_text())
    desired: list[Resource] = [Tree(path=PLACE, source=tmp_path)]
    assert bring(machine, desired).result.ok
    said = json.loads(remote(machine, f"python3 {PLACE}/program.py {PLACE}/agent.pyz {ROUNDS} 7"))
    assert said["failed"] == []
    assert said["rounds"] == ROUNDS
    assert said["left"].get("half-installed", 0) > 0, "no kill left what this is about"


def test_a_package_without_a_source_is_named_with_a_remedy(machine: HostRecord) -> None:
    """dpkg was killed while it unpacked the package from a file: apt itself then does nothing."""
    broken = "Package: orphaned\nStatus: install reinstreq half-installed\nArchitecture: all\nVersion: 1\n"
    remote(machine, f"cp /var/lib/dpkg/status /root/status; printf '{broken}\n' >> /var/lib/dpkg/status")
    try:
        wanted = Packages(name="other", present=("bc",))
        remote(machine, "dpkg --force-depends --purge bc >/dev/null 2>&1 || true")
        failed = bring(machine, [wanted]).of(wanted)
    finally:
        remote(machine, "cp /root/status /var/lib/dpkg/status")
    assert "orphaned: the installation was interrupted, and no apt source has this package" in failed.error
    assert "dpkg --remove --force-remove-reinstreq --force-depends orphaned" in failed.error
    assert bring(machine, [wanted]).result.ok
