"""The nvidia role's resources, and its pins. tests/machine/nvidia tests them on a machine."""

import base64
import hashlib
import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from catalog.machines import gpu_models
from core.errors import ConfigError
from provisioning.converge.resources import Command, File, Packages, Resource, Unit
from provisioning.roles.engine.vllm import UNIT_FILE, processor, vllm
from provisioning.roles.host.layout import DEVICES_UNIT, ENGINE_UNIT
from provisioning.roles.host.nvidia import (
    DRIVER_ID,
    KERNEL_LIST,
    KEY,
    METRICS_PORT,
    REPOSITORY_ID,
    WANTED,
    installs_driver,
    nvidia,
    with_driver,
    without_repository,
)
from provisioning.roles.host.nvidia_driver import (
    KEY_FILE,
    KEY_FINGERPRINT,
    NVIDIA,
    VERSION,
    cuda_of_lock,
    minimum_driver,
)
from tests.unit.provisioning.records import host
from tests.unit.provisioning.roles.engine.test_vllm import HUB, L4, serving

T4 = {"model": "T4", "count": 1, "vram_gib": 16.0}


def desired(**changed: Any) -> list[Resource]:
    return nvidia(host(**{"gpu": L4, **changed}), serving())


def wanted(**changed: Any) -> dict[str, Any]:
    (content,) = (each.content for each in desired(**changed) if isinstance(each, File) and each.path == WANTED)
    values: dict[str, Any] = json.loads(str(content))
    return values


def fingerprint(armoured: str) -> str:
    """Return the fingerprint of the first key: SHA-1 over its packet, by RFC 4880 section 12.2."""
    body = armoured.split("\n\n", 1)[1].split("\n=", maxsplit=1)[0]
    packets = base64.b64decode(body)
    assert packets[0] == 0x99, "an old-format public key packet with two bytes of length"
    length = int.from_bytes(packets[1:3], "big")
    return hashlib.sha1(packets[: 3 + length]).hexdigest().upper()  # noqa: S324  # the format's own


def test_the_key_is_the_one_with_the_pinned_fingerprint() -> None:
    assert fingerprint(KEY_FILE.read_text(encoding="ascii")) == KEY_FINGERPRINT


def test_the_installed_driver_is_good_enough_for_the_cuda_of_the_lock_on_every_known_gpu() -> None:
    """A lock of another CUDA, a GPU that needs more, or an older pin would show here and not on a host."""
    release = int(VERSION.split(".")[0])
    needed = {"12": "min_driver_for_cuda_12_9", "13": "min_driver_for_cuda_13"}[cuda_of_lock().split(".")[0]]
    assert {getattr(gpu, needed) for gpu in gpu_models().values()} == {int(minimum_driver("vllm"))}
    assert release >= int(minimum_driver("vllm"))
    assert release >= int(minimum_driver("ollama"))
    assert [minimum_driver("ollama", each) for each in ((6, 1), (7, 0), (8, 9))] == ["570", "550", "550"]
    assert all(
        "580" in name
        for repository in NVIDIA.repositories.values()
        for name in (*repository.packages, *repository.switch_packages)
        if any(part.isdecimal() for part in name.split("-"))
    )


def test_a_host_without_gpu_gets_no_resources_and_its_engine_no_dependencies() -> None:
    bare = host()
    engine = vllm(bare, serving(), HUB)
    assert nvidia(bare, serving()) == []
    assert with_driver(bare, serving(), engine) == engine


def test_the_engine_of_a_gpu_host_waits_for_its_driver() -> None:
    one = host(gpu=L4)
    listed = with_driver(one, serving(), vllm(one, serving(), HUB))
    ids = [each.id for each in listed]
    (unit,) = (each for each in listed if isinstance(each, Unit) and each.name == ENGINE_UNIT["vllm"])
    assert DRIVER_ID in unit.after
    assert len(set(ids)) == len(ids)
    assert ids.index(DRIVER_ID) < ids.index(unit.id)
    for index, each in enumerate(listed):
        assert set(each.after) <= set(ids[:index]), each.id


def test_the_driver_program_gets_the_needs_of_host_and_engine() -> None:
    reported = wanted(gpu={**L4, "count": 4})
    assert (reported["gpu"], reported["gpus"], reported["version"], reported["container"]) == ("L4", 4, VERSION, False)
    assert reported["minimum"] == "580"
    assert reported["key"] == KEY
    assert set(reported["repositories"]) == {"ubuntu-22.04", "ubuntu-24.04", "debian-12"}


def test_only_the_driver_may_ask_for_a_reboot() -> None:
    commands = {each.name: each.reboot_status for each in desired() if isinstance(each, Command)}
    assert commands == {"nvidia-repository": 0, "nvidia-driver": 75, "nvidia-fabric": 0, "nvidia-kernel-upgrades": 0}


def test_a_containers_driver_is_checked_and_no_package_installed() -> None:
    listed = desired(virtualization="container")
    assert wanted(virtualization="container")["container"] is True
    assert [each for each in listed if isinstance(each, Packages | Unit)] == []
    assert [each.id for each in listed if isinstance(each, Command)] == [DRIVER_ID]


def test_unattended_upgrades_skip_the_driver_and_install_the_rest() -> None:
    (listed,) = (str(each.content) for each in desired() if isinstance(each, File) and "apt.conf.d" in each.path)
    starts = re.findall(r'"([^"]+)"', listed)
    driver = [name for each in NVIDIA.repositories.values() for name in each.packages if "nvidia" in name]
    for name in (*driver, "libnvidia-compute-550-server", "nvidia-utils-550-server", "libcuda1"):
        assert any(re.match(start, name) for start in starts), name
    for name in ("linux-image-aws", "openssl"):
        assert not any(re.match(start, name) for start in starts), name


@pytest.mark.parametrize(("state", "left"), [("ii", True), ("hi", True), ("rc", False), ("", False)])
def test_a_kernel_with_the_distributions_modules_is_skipped_too(
    state: str, left: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel was upgraded without its module, which needs the skipped driver: the GPU was lost."""
    (command,) = (each for each in desired() if isinstance(each, Command) and each.name == "nvidia-kernel-upgrades")
    (kept,) = (str(each.content) for each in desired() if isinstance(each, File) and each.path == KERNEL_LIST)
    dpkg, kernel_list, listed = tmp_path / "dpkg-query", tmp_path / "list", tmp_path / "listed"
    dpkg.write_text(f"#!/bin/sh\n[ -n '{state}' ] && echo 'un ' && echo '{state} '\n")
    dpkg.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    kernel_list.write_text(kept)
    listed.write_text("of a previous run\n")

    def run(argv: Sequence[str]) -> int:
        return subprocess.run([*argv[:3], kernel_list, listed], check=False).returncode

    assert run(command.check) == 1
    assert [run(command.argv), run(command.check), run(command.argv), run(command.check)] == [0, 0, 0, 0]
    assert listed.is_file() is left
    starts = re.findall(r'"([^"]+)"', listed.read_text() if left else "")
    for name in ("linux-modules-nvidia-580-server-aws", "linux-image-6.17.0-1013-aws", "linux-aws"):
        assert any(re.match(start, name) for start in starts) is left, name
    assert not any(re.match(start, "openssl") for start in starts)


def test_a_host_without_network_gets_the_same_driver_from_apt_without_a_repository() -> None:
    kept = without_repository(desired())
    ids = {each.id for each in kept}
    assert {each.id for each in desired()} - ids == {REPOSITORY_ID}
    assert all(set(each.after) <= ids for each in kept)
    (file,) = (each for each in kept if isinstance(each, File) and each.path == WANTED)
    reported = json.loads(str(file.content))
    assert {each["uri"] for each in reported["repositories"].values()} == {""}
    assert reported["version"] == wanted()["version"]


def test_a_container_gets_no_driver_and_other_hosts_with_a_gpu_may() -> None:
    assert installs_driver(desired())
    assert installs_driver(without_repository(desired()))
    assert not installs_driver(desired(virtualization="container"))


def test_metrics_are_on_loopback_only() -> None:
    (drop_in,) = (str(each.content) for each in desired() if isinstance(each, File) and "dcgm" in each.path)
    assert f"--address 127.0.0.1:{METRICS_PORT}" in drop_in


@pytest.mark.parametrize(
    ("gpu", "dtype", "refused"),
    [
        (T4, "bfloat16", True),
        (T4, "float16", False),
        (T4, "auto", False),
        (L4, "bfloat16", False),
        ({**L4, "model": "Unheard-of"}, "bfloat16", False),
    ],
    ids=["t4-bf16", "t4-fp16", "t4-auto", "l4-bf16", "unknown-bf16"],
)
def test_weights_that_a_gpu_cannot_compute_are_refused_for_inventories_too(
    gpu: dict[str, Any], dtype: str, refused: bool
) -> None:
    spec = serving(model={"dtype": dtype})
    if not refused:
        assert nvidia(host(gpu=gpu), spec)
        return
    with pytest.raises(ConfigError, match=r"bfloat16 needs compute capability 8\.0, and the T4 of host one has 7\.5"):
        nvidia(host(gpu=gpu), spec)


@pytest.mark.parametrize(
    ("gpu", "engine", "words"),
    [
        (
            {"model": "V100-SXM2-16GB"},
            "vllm",
            "vllm needs compute capability 7.5, and the V100-SXM2-16GB of host one has 7.0",
        ),
        ({"model": "V100"}, "ollama", ""),
        ({"model": "P100-PCIE-16GB"}, "vllm", "vllm needs compute capability 7.5"),
        ({"model": "K80"}, "vllm", "vllm needs compute capability 7.5, and the K80"),
        ({"model": "K80"}, "ollama", "ollama needs compute capability 5.0, and the K80 of host one has 3.7"),
        ({"model": "Unheard-of", "compute_capability": "7.0"}, "vllm", "the Unheard-of of host one has 7.0"),
        ({"model": "T4-16C"}, "vllm", ""),
        ({"model": "A16-4B"}, "ollama", "A16-4B of host one is a vGPU profile that runs no CUDA program"),
    ],
)
def test_gpus_outside_the_table_are_checked_by_name_or_record(gpu: dict[str, Any], engine: str, words: str) -> None:
    """Only GPUs of the table were checked: a V100 was accepted for vLLM and bfloat16."""
    one, spec = host(gpu={**L4, **gpu}), serving(engine=engine)
    if not words:
        assert nvidia(one, spec)
        return
    with pytest.raises(ConfigError) as caught:
        nvidia(one, spec)
    assert words in str(caught.value)


def test_a_gpu_before_ampere_never_gets_bfloat16() -> None:
    assert [processor(host(gpu={**L4, "model": name})).bfloat16 for name in ("T4-16C", "V100", "A10-24Q", "New")] == [
        False,
        False,
        True,
        True,
    ]


def test_devices_are_ready_before_the_engines_unit_starts() -> None:
    """The engine's own first command loaded nvidia-uvm: too late for its device filter, so CUDA found no GPU."""
    one = host(gpu={**L4, "count": 2})
    listed = with_driver(one, serving(), vllm(one, serving(), HUB))
    (unit,) = (str(each.content) for each in listed if isinstance(each, File) and each.path.endswith(DEVICES_UNIT))
    assert "modprobe -a nvidia nvidia-uvm nvidia-modeset" in unit
    assert "nvidia-modprobe -u -c 0 -c 1" in unit
    assert "RemainAfterExit" not in unit  # so that each start of the engine runs it
    (engine,) = (str(each.content) for each in listed if isinstance(each, File) and each.path == UNIT_FILE)
    head = engine[: engine.index("[Service]")]
    assert f"Wants={DEVICES_UNIT}\n" in head
    assert f"After={DEVICES_UNIT} nvidia-persistenced.service nvidia-fabricmanager.service\n" in head
    assert "nvidia-modprobe" not in engine
    (without,) = (each for each in vllm(host(), serving(), HUB) if isinstance(each, File) and each.path == UNIT_FILE)
    assert "nvidia" not in str(without.content)


def test_only_the_inventory_allows_the_replacement_of_a_driver() -> None:
    assert wanted()["replace"] is False
    assert wanted(gpu={**L4, "replace_driver": True})["replace"] is True
    assert "gpu.replace_driver: true for host one" in wanted(cloud="existing")["replace_hint"]


def test_weights_that_a_cpu_cannot_compute_are_refused_for_inventories_too() -> None:
    """They were refused only for cloud machines, and the engine of an existing host failed at its start."""
    with pytest.raises(ConfigError, match="fp8 needs a GPU, and host one has none") as caught:
        with_driver(host(), serving(model={"quantization": "fp8"}), [])
    assert caught.value.where == "serving.model.quantization"
    assert with_driver(host(), serving(model={"quantization": "awq"}), []) == []
