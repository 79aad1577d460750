"""The program that looks at a host: how many processors there are to compute with."""

import pytest

from provisioning.programs import look_at_host

V2, V1 = "/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu"

GROUPS: dict[str, tuple[dict[str, str], int]] = {
    "no groups": ({}, 8),
    "no limit": ({V2: "max 100000"}, 8),
    "a quota": ({V2: "200000 100000"}, 2),
    "a part of one": ({V2: "50000 100000"}, 1),
    "two and a half": ({V2: "250000 100000"}, 3),
    "more than there are": ({V2: "3200000 100000"}, 8),
    "version 1, no limit": ({f"{V1}/cpu.cfs_quota_us": "-1", f"{V1}/cpu.cfs_period_us": "100000"}, 8),
    "version 1": ({f"{V1}/cpu.cfs_quota_us": "100000", f"{V1}/cpu.cfs_period_us": "100000"}, 1),
    "version 1 under its full name": (
        {f"{V1},cpuacct/cpu.cfs_quota_us": "400000", f"{V1},cpuacct/cpu.cfs_period_us": "100000"},
        4,
    ),
}


@pytest.mark.parametrize("name", GROUPS)
def test_the_quota_of_the_control_group_counts(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Once a machine that was held to one processor was adopted with the two of the host around it."""
    files, count = GROUPS[name]
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(look_at_host, "read", lambda path: files.get(path, ""))
    assert look_at_host.cpu_count() == count
