"""The speed of data disks on GCP: of balanced disks by size, of Hyperdisk as provisioned."""

from typing import Any

import pytest

from infra.clouds.disk_speed import reading_s
from infra.clouds.gcp.placing.disk_speed import ProvisionedSpeed, least_gib, mib_per_s, provisioned_speed
from infra.clouds.sizes import data_gib
from infra.config import DeploymentConfig, parse_deployment


def config(machine: str, repo: str = "example/Llama-70B", **storage: Any) -> DeploymentConfig:
    source = {"kind": "hub", "repo": repo, "revision": "7a" * 20}
    value = {
        "cloud": "gcp",
        "project": "my-project-123456",
        "region": "us-central1",
        "machine": {"type": machine},
        "network": {"ssh_cidrs": ["198.18.0.7/32"], "client_cidrs": ["198.18.0.0/24"]},
        "storage": storage,
        "serving": {"model": {"name": "m", "source": source}},
    }
    return parse_deployment(value, "a test")


def test_a_balanced_disk_is_as_large_as_its_speed_needs() -> None:
    """With a disk sized only for its weights, a 70B model took 618 of the 900 s of a start to read."""
    asked = config("a2-ultragpu-4g")

    assert data_gib(asked) == least_gib(asked) == 560
    seconds = reading_s(asked.serving, mib_per_s(asked, data_gib(asked)))
    assert seconds == pytest.approx(450, abs=3)
    assert provisioned_speed(asked, "a2-ultragpu-4g") is None


def test_a_small_model_does_not_change_its_disk() -> None:
    asked = config("g2-standard-8", "Qwen/Qwen2.5-7B-Instruct")

    assert (least_gib(asked), data_gib(asked), mib_per_s(asked, 37)) == (0, 37, 150)


def test_the_size_in_the_file_decides() -> None:
    asked = config("a2-ultragpu-4g", data_gib=300)

    assert (data_gib(asked), mib_per_s(asked, 300)) == (300, 224)


def test_a_hyperdisk_is_made_with_its_speed() -> None:
    asked = config("a3-highgpu-8g")

    assert provisioned_speed(asked, "a3-highgpu-8g") == ProvisionedSpeed(300, 3000)
    assert (least_gib(asked), mib_per_s(asked, data_gib(asked))) == (0, 300)
    small = config("a3-highgpu-8g", "Qwen/Qwen2.5-7B-Instruct")
    assert provisioned_speed(small, "a3-highgpu-8g") is None
