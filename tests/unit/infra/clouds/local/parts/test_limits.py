"""What is written into control groups, on a tree of plain files laid out as the kernel does."""

from pathlib import Path

import pytest

from core.errors import HostError
from infra.clouds.local.parts.limits import Groups, known_ids

ID = "0123abcd"


@pytest.fixture
def version1(tmp_path: Path) -> Path:
    """Controllers in version 1 and a tree of version 2 without any, as on a hybrid host."""
    for tree in ("memory", "cpu", "systemd", "unified"):
        (tmp_path / tree).mkdir()
        (tmp_path / tree / "cgroup.procs").touch()
    (tmp_path / "unified" / "cgroup.controllers").touch()
    return tmp_path


@pytest.fixture
def version2(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.procs").touch()
    return tmp_path


def test_version_1_limits_memory_and_processor_time(version1: Path) -> None:
    Groups(ID, version1).make(memory_mib=512, cpus=0.5)
    assert (version1 / f"memory/llm-{ID}/memory.limit_in_bytes").read_text() == str(512 << 20)
    assert (version1 / f"cpu/llm-{ID}/cpu.cfs_quota_us").read_text() == "50000"
    assert (version1 / f"unified/llm-{ID}").is_dir()


def test_version_1_counts_swap_where_the_kernel_does(version1: Path) -> None:
    group = version1 / f"memory/llm-{ID}"
    group.mkdir()
    (group / "memory.memsw.limit_in_bytes").touch()
    Groups(ID, version1).make(memory_mib=512, cpus=1)
    assert (group / "memory.memsw.limit_in_bytes").read_text() == str(512 << 20)


def test_version_2_limits_memory_swap_and_processor_time(version2: Path) -> None:
    group = version2 / f"llm-{ID}"
    group.mkdir()
    (group / "memory.swap.max").touch()
    Groups(ID, version2).make(memory_mib=1024, cpus=1.5)
    assert (group / "memory.max").read_text() == str(1024 << 20)
    assert (group / "memory.swap.max").read_text() == "0"
    assert (group / "cpu.max").read_text() == "150000 100000"
    assert (version2 / "cgroup.subtree_control").read_text() == "+memory +cpu"


def test_a_host_without_control_groups_is_reported(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="mounts no control groups"):
        Groups(ID, tmp_path).make(memory_mib=512, cpus=1)


def test_a_host_that_lets_nobody_make_groups_is_reported(version1: Path) -> None:
    (version1 / f"memory/llm-{ID}").touch()  # in the way, as a read-only tree would be
    with pytest.raises(HostError, match=rf"memory/llm-{ID}: control group cannot be created"):
        Groups(ID, version1).make(memory_mib=512, cpus=1)


def test_the_supervisor_is_reported_of_every_group(version1: Path) -> None:
    assert Groups(ID, version1).arguments() == [
        "--group1", f"{version1}/memory/llm-{ID}", "--group1", f"{version1}/cpu/llm-{ID}",
        "--group2", f"{version1}/unified/llm-{ID}",
    ]  # fmt: skip


def test_removal_takes_the_groups_of_the_machine_s_own_systemd_with_it(version1: Path) -> None:
    inner = version1 / f"unified/llm-{ID}/machine/payload/system.slice"
    inner.mkdir(parents=True)
    (version1 / f"systemd/llm-{ID}/payload").mkdir(parents=True)
    assert known_ids(version1) == {ID}
    Groups(ID, version1).remove()
    Groups(ID, version1).remove()
    assert known_ids(version1) == set()
    assert Groups(ID, version1).remains() == []


def test_a_group_that_stays_busy_is_named(version1: Path) -> None:
    (version1 / f"unified/llm-{ID}").mkdir()
    (version1 / f"unified/llm-{ID}/busy").touch()  # a plain file stands for a process: rmdir fails the same way
    with pytest.raises(HostError, match=rf"unified/llm-{ID}: cannot be removed"):
        Groups(ID, version1).remove(deadline_s=0)
