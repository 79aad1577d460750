"""Disks of local machines: limited, grown, found when cut off, and gone with the machine."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import HostError
from infra.clouds.local.parts import disk, host, record
from infra.clouds.local.parts.record import MachineRecord
from tests.unit.infra.clouds.local.parts.test_record import a_record

MIB = 1 << 20

loops = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/loop-control").exists(), reason="needs root and loop devices"
)


@pytest.fixture
def machine(store: Path) -> Iterator[MachineRecord]:
    """A record with a disk of 64 MiB to come."""
    store.mkdir(parents=True)
    yield (made := a_record().changed(disk_gib=1 / 16))
    disk.discard(made.id)


def full_at(machine: MachineRecord) -> int:
    """Write until the disk is full; return how many bytes it took."""
    path = machine.root / "filler"
    assert not host.succeeds("dd", "if=/dev/zero", f"of={path}", "bs=1M", "count=512")
    return path.stat().st_size


@loops
def test_a_disk_is_full_before_this_hosts_is(machine: MachineRecord) -> None:
    """Once a machine could fill the disk of the host with all that runs there."""
    disk.make(machine)
    assert full_at(machine) < 64 * MIB


@loops
def test_a_disk_takes_what_is_written_and_goes_whole(machine: MachineRecord) -> None:
    disk.make(machine)
    assert (machine.folder / disk.IMAGE).stat().st_blocks * 512 < 16 * MIB
    found = dict(disk.remains())
    assert set(found) == {machine.id}
    disk.discard(machine.id)
    record.remove(machine.id)
    assert disk.remains() == []
    assert not machine.folder.exists()


@loops
def test_removing_a_disk_does_not_wait_until_its_content_is_written(machine: MachineRecord) -> None:
    """Removing a machine took 20 s on a slow disk: unmounting wrote all that the kernel had not written yet."""
    disk.make(machine)
    (machine.root / "new").write_text("not written yet")
    disk.discard(machine.id)
    assert b"not written yet" not in (machine.folder / disk.IMAGE).read_bytes()


@loops
def test_a_disk_is_freed_while_another_machine_has_a_copy_of_its_mount(machine: MachineRecord) -> None:
    """Removing one of two machines took 10 s where systemd does not share the mounts of this host."""
    disk.make(machine)
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout
        assert other.stdin
        other.stdout.readline()
        disk.discard(machine.id)
        assert disk.remains() == []
        other.stdin.close()


@loops
def test_a_device_that_another_program_looks_at_is_waited_for(machine: MachineRecord) -> None:
    """A machine was once "not removed whole", as the mount of another one looked at its loop device just then."""
    disk.make(machine)
    device = str(disk._device(machine.id))
    held = os.open(device, os.O_RDONLY)
    with subprocess.Popen(["sleep", "0.5"], stdin=held):
        os.close(held)
        disk.discard(machine.id)
        assert disk.remains() == []


@loops
def test_after_a_reboot_of_this_host_it_is_mounted_again_and_grows(machine: MachineRecord) -> None:
    disk.make(machine)
    (machine.root / "kept").write_text("mine")
    host.run("umount", str(machine.root))
    assert not (machine.root / "kept").exists()
    assert disk.is_whole(machine)
    disk.attach(machine.changed(disk_gib=1 / 8))
    assert (machine.root / "kept").read_text() == "mine"
    assert 64 * MIB < full_at(machine) < 128 * MIB
    disk.attach(machine)  # smaller again: what lies on it stays
    assert (machine.root / "kept").exists()


@loops
def test_a_disk_that_is_in_use_is_not_taken_away(machine: MachineRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "UNMOUNT_DEADLINE_S", 0.2)
    disk.make(machine)
    with (machine.root / "open").open("w"), pytest.raises(HostError, match="is still in use; stop what uses it"):
        disk.discard(machine.id)
    assert disk.is_mounted(machine.id)


def test_without_loop_devices_it_is_a_folder_and_that_is_said(
    machine: MachineRecord, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*argv: str, **_: object) -> str:
        if argv[0] == "mount":
            raise HostError("ended with status 32", detail="mount: failed to setup loop device")
        return ""

    monkeypatch.setattr(host, "run", run)
    disk.make(machine)
    said = "! local-1 has no disk image, and so no disk limit: mount: failed to setup loop device\n"
    assert capsys.readouterr().err == said
    assert machine.root.is_dir()
    assert disk.is_whole(machine)
    assert not (machine.folder / disk.IMAGE).exists()


def test_a_machine_from_before_has_no_disk_and_is_left_as_it_is(
    machine: MachineRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "run", lambda *argv, **_: pytest.fail(f"nothing is to be run: {argv}"))
    machine.root.mkdir()
    disk.attach(machine)
    assert disk.is_whole(machine)
