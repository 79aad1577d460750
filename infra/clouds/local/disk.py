"""A machine's disk of a given size: a sparse ext4 image, mounted by a loop device where its root filesystem lies.

The image takes only what the machine has written, and the machine sees a full disk before this host's is. Where no loop
device can be had (a container without /dev/loop*), the machine lies in a folder, without a limit.
"""

import time
from pathlib import Path

from core.console import say
from core.deadline import Deadline
from core.errors import HostError
from infra.clouds.local import host, record
from infra.clouds.local.record import MachineRecord

IMAGE = "disk.img"
GIB = 1 << 30
UNMOUNT_DEADLINE_S = 10.0
POLL_S = 0.1
LOOPS = Path("/sys/block")

# Tables are written as they are needed: 40 GiB are made in a tenth of a second, and take 5 MB.
MAKE = ("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard")


def make(machine: MachineRecord) -> None:
    """Make the disk of a new machine and mount it; where that cannot be, say so and leave a folder without a limit."""
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
        unmount(machine.id)
        image.unlink(missing_ok=True)
        reason = (getattr(error, "detail", "") or str(error)).strip().splitlines()[-1]
        say(f"! {machine.name} has no disk of its own, and so no limit: {reason}")


def attach(machine: MachineRecord) -> None:
    """Mount the disk of a machine that was made with one, as after a reboot of this host; grow it to what is wished.

    One that is in use grows where the kernel lets it (CAP_SYS_RESOURCE), else at the machine's next start.
    """
    image = _image(machine.id)
    if not image.exists():
        return
    desired = round(machine.disk_gib * GIB)
    grows = desired > image.stat().st_size  # it is never made smaller: what lies on it stays
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
    """Return whether the machine's files are there, mounted at the moment or not."""
    return _image(machine.id).exists() or machine.root.is_dir()


def unmount(identity: str) -> None:
    """Unmount the disk, whose loop device goes with it; nothing happens when it is not mounted.

    Raises HostError when something keeps it busy.
    """
    root = record.STORE / identity / "root"
    end = Deadline.after(UNMOUNT_DEADLINE_S)
    while is_mounted(identity):
        if host.succeeds("umount", str(root)):
            continue  # once more, if it was mounted twice
        if not end.left_s():
            raise HostError("is still in use", where=str(root), hint=f"end what works there, then `umount {root}`")
        time.sleep(POLL_S)
    # A device goes with its mount, but a moment later where another program looks at it, such as another mount.
    while _device(identity) is not None and end.left_s():
        time.sleep(POLL_S)


def is_mounted(identity: str) -> bool:
    """Return whether the machine's disk is mounted."""
    return record.STORE / identity / "root" in record.mount_points()


def remains() -> list[tuple[str, str]]:
    """Return id and words for each disk that is mounted, and each loop device that holds one."""
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
    """Mount the image. Past this host's page cache where it can be: what it holds would count twice."""
    root = record.STORE / identity / "root"
    root.mkdir(exist_ok=True)
    host.run("mount", "-t", "ext4", "-o", "loop,noatime", str(_image(identity)), str(root))
    if (device := _device(identity)) is not None:
        host.succeeds("losetup", "--direct-io=on", str(device))


def _device(identity: str) -> Path | None:
    """Return the loop device of the machine's disk; None when there is none."""
    for file in LOOPS.glob("loop*/loop/backing_file"):
        if _backing(file) == _image(identity):
            return Path("/dev") / file.parent.parent.name
    return None


def _backing(file: Path) -> Path | None:
    """Return which file a loop device holds, also one that was deleted since; None when it was let go meanwhile."""
    try:
        return Path(file.read_text().rstrip("\n").removesuffix(" (deleted)"))
    except OSError:
        return None
