"""User data: the settings for cloud-init, and its scripts, run with a simulated metadata service."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from infra.clouds.aws.program.node import BOOT as AWS_BOOT
from infra.clouds.aws.program.node import MAX_USER_DATA_BYTES
from infra.clouds.program.host_key import new_private_key, public_half
from infra.clouds.program.user_data import BOOT, user_data

FUTURE, PAST = "2999-01-01T00:00:00Z", "2020-01-01T00:00:00Z"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder of programs, before the real ones in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def end_of_life(tmp_path: Path, programs: Path) -> str:
    """Run the script with its own folder, and return what it did."""
    script = (BOOT / "end-of-life.sh").read_text().replace("/var/lib/llm-deploy", str(tmp_path / "known"))
    program(programs, "systemctl", f'echo "$@" > {tmp_path}/done')
    environ = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", script], env=environ, check=True, capture_output=True)
    done = tmp_path / "done"
    return done.read_text().strip() if done.exists() else "nothing"


def test_cloud_init_accepts_the_user_data_and_it_fits() -> None:
    private = new_private_key()

    text = user_data("prod-1", private, public_half(private), cloud_boot=AWS_BOOT)

    assert text.startswith("#cloud-config\n")
    assert len(text.encode()) < MAX_USER_DATA_BYTES / 2, "near what EC2 takes"
    read = yaml.safe_load(text)
    assert read["ssh_keys"] == {"ed25519_private": private, "ed25519_public": f"{public_half(private)} prod-1"}
    paths = {each["path"] for each in read["write_files"]}
    assert "/usr/local/sbin/llm-end-of-life" in paths
    assert "/etc/systemd/system/llm-data-volume.service" in paths
    assert all(each["content"].strip() for each in read["write_files"])


@pytest.mark.parametrize(("ends_at", "done"), [(FUTURE, "nothing"), (PAST, "poweroff")])
def test_a_host_terminates_itself_at_the_end_of_its_lifetime(
    tmp_path: Path, programs: Path, ends_at: str, done: str
) -> None:
    program(programs, "llm-instance-tag", f'[ "$1" = llm-deploy:ends-at ] && echo {ends_at}')

    assert end_of_life(tmp_path, programs) == done


def test_a_longer_lifetime_applies_without_a_restart(tmp_path: Path, programs: Path) -> None:
    program(programs, "llm-instance-tag", f"echo {PAST}")
    (tmp_path / "known").mkdir()
    (tmp_path / "known" / "ends-at").write_text(PAST)
    program(programs, "llm-instance-tag", f"echo {FUTURE}")

    assert end_of_life(tmp_path, programs) == "nothing"
    assert (tmp_path / "known" / "ends-at").read_text().strip() == FUTURE


@pytest.mark.parametrize(("known", "done"), [(FUTURE, "nothing"), (PAST, "poweroff")])
def test_without_metadata_the_last_known_end_applies(tmp_path: Path, programs: Path, known: str, done: str) -> None:
    program(programs, "llm-instance-tag", "exit 22")
    (tmp_path / "known").mkdir()
    (tmp_path / "known" / "ends-at").write_text(known)

    assert end_of_life(tmp_path, programs) == done


@pytest.mark.parametrize("path", sorted(BOOT.parent.rglob("boot/*.sh")), ids=lambda path: "-".join(path.parts[-3:]))
def test_scripts_are_posix_shell(path: Path) -> None:
    subprocess.run(["sh", "-n", str(path)], check=True)
