"""A machine's disk: a sparse ext4 image of the given size, mounted with a loop device as its root filesystem.

The image takes only as much space as the machine has written. The machine's disk is full before this host's disk is.
Without loop devices (in a container without /dev/loop*), the machine is in a folder, without a limit.
"""

import contextlib
import fcntl
import os
import sys
import time
from pathlib import Path

from core.console import say
from core.errors import HostError
from core.waiting.deadline import Deadline
from infra.clouds.local.parts import host, record
from infra.clouds.local.parts.record import MachineRecord

IMAGE = "disk.img"
GIB = 1 << 30
UNMOUNT_DEADLINE_S = 10.0
POLL_S = 0.1
LOOPS = Path("/sys/block")

EXT4_IOC_SHUTDOWN = 0x8004587D
WITHOUT_FLUSH = (2).to_bytes(4, sys.byteorder)
"""EXT4_GOING_FLAGS_NOLOGFLUSH: stop the file system at once, and write neither data nor journal."""

# Tables are written when they are needed: 40 GiB are created in a tenth of a second, and take 5 MB.
MAKE = ("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard")


def make(machine: MachineRecord) -> None:
    """Create the disk of a new machine and mount it. If that fails, say so and leave a folder without a limit."""
    image = _image(machine.id)
    machine.root.mkdir()
    if machine.disk_gib <= 0:
        return
    try:
        with image.open("wb") as stream:
            stream.truncate(round(machine.disk_gib * GIB))
        host.run(*MAKE, str(image))
        _mount(machine.id)
    except (HostError, OSError) as error:
        discard(machine.id)
        image.unlink(missing_ok=True)
        machine.root.mkdir(exist_ok=True)
        reason = (getattr(error, "detail", "") or str(error)).strip().splitlines()[-1]
        say(f"! {machine.name} has no disk image, and so no disk limit: {reason}")


def attach(machine: MachineRecord) -> None:
    """Mount the disk of a machine, for example after a reboot of this host, and grow it to its size.

    A disk in use grows if the kernel allows it (CAP_SYS_RESOURCE), else at the machine's next start.
    """
    image = _image(machine.id)
    if not image.exists():
        return
    desired = round(machine.disk_gib * GIB)
    grows = desired > image.stat().st_size  # never smaller: its data must stay
    if grows:
        with image.open("r+b") as stream:
            stream.truncate(desired)
    if not is_mounted(machine.id):
        host.succeeds("e2fsck", "-f", "-p", str(image))
        host.run("resize2fs", str(image), timeout_s=300)
        _mount(machine.id)
    elif grows:
        device = str(_device(machine.id))
        if not (host.succeeds("losetup", "--set-capacity", device) and host.succeeds("resize2fs", device)):
            say(f"! the disk of {machine.name} grows to {machine.disk_gib:g} GiB at its next start")


def is_whole(machine: MachineRecord) -> bool:
    """Return whether the machine's files exist, mounted or not."""
    return _image(machine.id).exists() or machine.root.is_dir()


def discard(identity: str) -> None:
    """Unmount a disk that will be removed, which frees its loop device. Does nothing if it is not mounted.

    The image is useless afterwards. Raises HostError if the disk is still in use.
    """
    root = record.STORE / identity / "root"
    if is_mounted(identity):
        _drop_unwritten(root)
    end = Deadline.after(UNMOUNT_DEADLINE_S)
    while is_mounted(identity):
        if host.succeeds("umount", str(root)):
            continue  # once more, if it was mounted twice
        if not end.left_s():
            raise HostError("is still in use", where=str(root), hint=f"stop what uses it, then run `umount {root}`")
        time.sleep(POLL_S)
    # Another machine's nspawn may have a copy of the mount. Removing its folder ends that one too.
    with contextlib.suppress(OSError):  # a machine without a disk image has its files there
        root.rmdir()
    # The kernel frees the device with its last mount, or a moment later if another program looks at it.
    while _device(identity) is not None and end.left_s():
        time.sleep(POLL_S)


def is_mounted(identity: str) -> bool:
    """Return whether the machine's disk is mounted."""
    return record.STORE / identity / "root" in record.mount_points()


def remains() -> list[tuple[str, str]]:
    """Return the id and a line for each mounted disk and each loop device of a disk."""
    points = [each for each in record.mount_points() if each.name == "root" and each.parent.parent == record.STORE]
    found = [(each.parent.name, f"mount {each}") for each in points]
    for file in LOOPS.glob("loop*/loop/backing_file"):
        backing = _backing(file)
        if backing is not None and backing.name == IMAGE and backing.parent.parent == record.STORE:
            found.append((backing.parent.name, f"loop device {file.parent.parent.name}"))
    return found


def _image(identity: str) -> Path:
    return record.STORE / identity / IMAGE


def _mount(identity: str) -> None:
    """Mount the image, with direct I/O if possible: else this host would cache its content twice."""
    root = record.STORE / identity / "root"
    root.mkdir(exist_ok=True)
    host.run("mount", "-t", "ext4", "-o", "loop,noatime", str(_image(identity)), str(root))
    if (device := _device(identity)) is not None:
        host.succeeds("losetup", "--direct-io=on", str(device))


def _drop_unwritten(root: Path) -> None:
    """Let the kernel drop data that is not on the disk yet. Unmounting would wait for hundreds of MB."""
    with contextlib.suppress(OSError):  # unmounting then writes it
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, WITHOUT_FLUSH)
        finally:
            os.close(folder)


def _device(identity: str) -> Path | None:
    """Return the loop device of the machine's disk. None: there is none."""
    for file in LOOPS.glob("loop*/loop/backing_file"):
        if _backing(file) == _image(identity):
            return Path("/dev") / file.parent.parent.name
    return None


def _backing(file: Path) -> Path | None:
    """Return the file of a loop device, also if it was deleted. None: the device was freed meanwhile."""
    try:
        return Path(file.read_text().rstrip("\n").removesuffix(" (deleted)"))
    except OSError:
        return None
