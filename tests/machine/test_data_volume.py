"""The data volume of a cloud host on a real block device: formatted once, mounted, grown while in use."""

import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.clouds.program.user_data import BOOT
from provisioning.converge.resources import Command
from provisioning.roles.host.base import base
from serving.spec.models import GatewaySpec
from tests.unit.provisioning.records import host

MIB = 1024**2
SMALL_MIB, LARGE_MIB = 300, 700


GROW = """\
/usr/sbin/resize2fs "$1" && exit
place=$(findmnt -nro TARGET -S "$1")
umount "$1" && e2fsck -fp "$1" && /usr/sbin/resize2fs "$1" && mount "$1" "$place"
"""
"""Grows a file system; around its use where this machine is a container that may not grow one in use."""


def shell(*argv: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Volume:
    """A block device in a file, and its mount point."""

    device: str
    file: Path
    place: Path

    def boot(self) -> "subprocess.CompletedProcess[str]":
        """Run the script of the boot."""
        return shell("sh", "-c", (BOOT / "data-volume.sh").read_text().replace("/var/lib/llm", str(self.place)))

    def grow(self) -> None:
        """Enlarge the device, as AWS and GCP do for a running host."""
        os.truncate(self.file, LARGE_MIB * MIB)
        assert shell("losetup", "--set-capacity", self.device).returncode == 0

    @property
    def size_mib(self) -> float:
        """How much the file system holds."""
        seen = os.statvfs(self.place)
        return seen.f_blocks * seen.f_frsize / MIB


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Volume]:
    """A blank volume that is attached."""
    file, programs = tmp_path / "volume", tmp_path / "bin"
    file.touch()
    os.truncate(file, SMALL_MIB * MIB)
    attached = shell("losetup", "--find", "--show", str(file))
    if attached.returncode:
        pytest.skip(f"no loop device: {attached.stderr.strip()}")
    device = attached.stdout.strip()
    programs.mkdir()
    for name, text in (("llm-data-device", f"echo {device}"), ("chattr", "exit 0"), ("resize2fs", GROW)):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    made = Volume(device, file, tmp_path / "data")
    yield made
    shell("umount", str(made.place))
    shell("losetup", "--detach", device)


def test_a_blank_volume_is_formatted_mounted_and_grown_at_the_next_boot(volume: Volume) -> None:
    assert volume.boot().returncode == 0
    (volume.place / "model").write_text("weights")
    assert volume.size_mib < SMALL_MIB

    shell("umount", str(volume.place))
    volume.grow()
    assert volume.boot().returncode == 0

    assert (volume.place / "model").read_text() == "weights", "it was formatted again"
    assert volume.size_mib > SMALL_MIB


def test_an_unreadable_volume_is_not_formatted(volume: Volume) -> None:
    shell("sh", "-c", f"printf '\\125\\252' | dd of={volume.device} bs=1 seek=510 conv=notrunc status=none")

    assert volume.boot().returncode != 0
    assert "ext4" not in shell("blkid", "-p", volume.device).stdout


def test_provisioning_grows_a_volume_that_was_enlarged_while_the_host_runs(volume: Volume) -> None:
    """Nothing did: the unit of the boot counts as done, and the file system stayed small until a reboot."""
    # The config refuses a folder below /tmp, where this volume is mounted.
    desired = base(host(cloud="aws").model_copy(update={"data_dir": str(volume.place)}), GatewaySpec())
    (command,) = [each for each in desired if isinstance(each, Command) and each.name == "data-volume-size"]
    assert shell(*command.check).returncode == 0, "the check ignores an unmounted volume"
    assert volume.boot().returncode == 0
    assert shell(*command.check).returncode == 0

    volume.grow()
    assert shell(*command.check).returncode != 0
    assert shell(*command.argv).returncode == 0

    assert shell(*command.check).returncode == 0
    assert volume.size_mib > SMALL_MIB
