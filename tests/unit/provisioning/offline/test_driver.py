"""What a bundle must have for a host that gets a driver, and that a person says for which kernel."""

import pytest

from core.errors import UsageError
from provisioning.offline.driver import headers, packages, vendor
from provisioning.offline.lists import local, package_names
from provisioning.offline.releases import RELEASES
from provisioning.roles.host.nvidia import METRICS_PACKAGES, nvidia
from provisioning.roles.host.nvidia_driver import KEY_FILE, NVIDIA, VERSION
from serving.spec.models import ServingSpec
from tests.unit.provisioning.records import SERVING, host

L4 = {"model": "L4", "count": 1, "vram_gib": 22.35}
GPU = nvidia(host("gpu", gpu=L4), ServingSpec.model_validate(SERVING))
CONTAINER = nvidia(host("pod", gpu=L4, virtualization="container"), ServingSpec.model_validate(SERVING))
KERNELS = ("6.8.0-45-generic", "6.1.0-25-amd64")


def test_the_headers_are_those_of_the_named_kernels() -> None:
    assert headers({"gpu": local(GPU)}, KERNELS) == [f"linux-headers-{kernel}" for kernel in KERNELS]
    assert headers({"gpu": GPU}, ("present",)) == []
    assert headers({"cpu": [], "pod": CONTAINER}, ()) == []


@pytest.mark.parametrize(
    ("kernels", "words"),
    [
        ((), r"kernel of gpu, which is not given; write what `uname -r` prints there, or present if its"),
        (("newest",), r"not a kernel version: 'newest'; write what `uname -r` prints on the host"),
        (("6.8.0-45-generic --purge",), "not a kernel version"),
    ],
)
def test_missing_or_wrong_kernel_is_refused(kernels: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        headers({"cpu": [], "gpu": GPU}, kernels)


def test_a_kernel_without_need_is_refused() -> None:
    with pytest.raises(UsageError, match="--kernel: no host of this bundle gets a driver; leave it out"):
        headers({"pod": CONTAINER}, KERNELS)


@pytest.mark.parametrize("name", RELEASES)
def test_driver_and_what_builds_it_come_from_nvidias_signed_repository(name: str) -> None:
    release = RELEASES[name]
    assert {"dkms", "nvidia-fabricmanager", "nvlsm"} < set(packages(NVIDIA, release, {"gpu": GPU}))
    source = vendor(NVIDIA, release)
    assert source.uri.endswith(f"/{name.replace('-', '').replace('.', '')}/x86_64/")
    assert source.key == KEY_FILE.read_text()
    assert f"Pin: version {VERSION}-*" in source.preferences


def test_the_kernel_module_is_the_one_for_the_gpus() -> None:
    """A bundle has the proprietary one for GPUs before Turing, and not both: they exclude each other."""
    release, known = RELEASES["ubuntu-24.04"], NVIDIA.repositories["ubuntu-24.04"]
    ollama = ServingSpec.model_validate({**SERVING, "engine": "ollama"})
    old = nvidia(host("old", gpu={**L4, "model": "V100-SXM2-16GB"}), ollama)
    assert {known.open_module, known.proprietary_module} & set(packages(NVIDIA, release, {"gpu": GPU})) == {
        known.open_module
    }
    assert {known.open_module, known.proprietary_module} & set(packages(NVIDIA, release, {"old": local(old)})) == {
        known.proprietary_module
    }
    with pytest.raises(UsageError, match="old: has GPUs older than Turing"):
        packages(NVIDIA, release, {"gpu": GPU, "old": old})


def test_the_metrics_come_along() -> None:
    assert set(METRICS_PACKAGES) < package_names(local(GPU))
