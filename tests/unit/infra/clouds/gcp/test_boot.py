"""The scripts of the first boot that only GCP needs, run with a simulated metadata server and disk."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from infra.clouds.gcp.program.node import BOOT, ENDS_AT, GUEST_AGENT
from infra.clouds.program.host_key import new_private_key, public_half
from infra.clouds.program.user_data import user_data
from tests.doubles.gcp.rules.instances import METADATA_BYTES

URL = "http://metadata.google.internal/computeMetadata/v1/instance/attributes"
TAG = "llm-deploy:ends-at"
"""What infra/clouds/program/boot/end-of-life.sh asks every cloud's script for."""


def run(script: str, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script with the programs in `tmp_path` before the real ones."""
    environ = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["sh", "-c", script, "script", *arguments]
    return subprocess.run(command, env=environ, check=False, capture_output=True, text=True)


@pytest.mark.parametrize(("answer", "status"), [("2999-01-01T00:00:00Z", 0), (None, 22)])
def test_a_tag_is_read_by_a_key_that_gcp_accepts(tmp_path: Path, answer: str | None, status: int) -> None:
    """And with the header that the metadata server requires; a missing key is 404, for which curl exits 22."""
    curl = tmp_path / "curl"
    reported = f"echo {answer}" if answer else "exit 22"
    curl.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\n{reported}\n')
    curl.chmod(0o755)

    done = run((BOOT / "instance-tag.sh").read_text(), tmp_path, TAG)

    assert (done.returncode, done.stdout.strip()) == (status, answer or "")
    assert (tmp_path / "asked").read_text().split() == [
        "-sf", "-m", "5", "-H", "Metadata-Flavor:", "Google", f"{URL}/{ENDS_AT}",
    ]  # fmt: skip


@pytest.mark.parametrize("there", [True, False])
def test_the_data_disk_is_found_by_the_name_it_is_attached_with(tmp_path: Path, there: bool) -> None:
    """Only when it exists, and only a block device of that name."""
    script = (BOOT / "data-device.sh").read_text()
    assert "device=/dev/disk/by-id/google-llm-data\n" in script
    block = next((path for path in Path("/dev").iterdir() if path.is_block_device()), None)
    if there and block is None:
        pytest.skip("a container without block devices")
    device = block if there else tmp_path

    done = run(script.replace("/dev/disk/by-id/google-llm-data", str(device)), tmp_path)

    assert (done.returncode == 0, done.stdout.strip()) == (there, str(device) if there else "")


def test_cloud_init_accepts_the_user_data_and_it_fits() -> None:
    private = new_private_key()

    text = user_data("prod-1", private, public_half(private), cloud_boot=BOOT, files=GUEST_AGENT)

    assert len(text.encode()) < METADATA_BYTES / 2
    paths = {each["path"] for each in yaml.safe_load(text)["write_files"]}
    assert {"/usr/local/sbin/llm-instance-tag", "/usr/local/sbin/llm-data-device", *GUEST_AGENT} <= paths
