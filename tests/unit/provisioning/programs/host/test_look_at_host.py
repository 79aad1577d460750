"""The program that inspects a host: the number of usable processors, and the GPUs."""

import pytest

from provisioning.programs.host import look_at_host

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
    """A machine limited to one processor was adopted with the two processors of its host."""
    files, count = GROUPS[name]
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(look_at_host, "read", lambda path: files.get(path, ""))
    assert look_at_host.cpu_count() == count


LISTED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5c89852c)
  MIG 1g.5gb      Device  0: (UUID: MIG-c6d4f1ef)
  MIG 2g.10gb     Device  1: (UUID: MIG-cba663e8)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-77d1)
"""
NAMES = "NVIDIA A100-SXM4-40GB, 40960, 580.95.05\nNVIDIA A100-SXM4-40GB, 40960, 580.95.05"
UNKNOWN_FIELD = 'Field "compute_cap" is not a valid field to query.'


@pytest.mark.parametrize(
    ("asked", "capabilities"), [("8.0\n8.0", ["8.0", "8.0"]), (UNKNOWN_FIELD, ["", ""]), ("[N/A]\n[N/A]", ["", ""])]
)
def test_gpus_report_capability_and_slices_if_the_driver_knows_them(
    asked: str, capabilities: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old driver refuses a query with one unknown field completely, so each field is queried separately."""

    def said(_: str, *words: str) -> str:
        return LISTED if words == ("-L",) else asked if "compute_cap" in words[0] else NAMES

    monkeypatch.setattr(look_at_host, "said", said)
    gpus = look_at_host.nvidia_smi()["gpus"]
    assert [each["compute_capability"] for each in gpus] == capabilities
    assert [each["mig_slices"] for each in gpus] == [["1g.5gb", "2g.10gb"], []]
    assert {each["memory_mib"] for each in gpus} == {40960}


def test_a_processes_name_stays_on_its_line() -> None:
    """Any user can choose a process name, and `adopt` writes it into the inventory: an extra line opened a port."""
    assert look_at_host.printable("a\n      - 9/tcp") == "a?      - 9/tcp"
    assert look_at_host.printable("ngin\x1b[2Jx") == "ngin?[2Jx"
