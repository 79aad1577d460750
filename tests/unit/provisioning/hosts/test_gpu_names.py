"""What names of GPUs say. How they become those of the table: tests/unit/provisioning/existing/test_verdict.py."""

import pytest

from catalog.machines import gpu_models
from infra.contract.outputs import Gpu
from provisioning.hosts.gpu_names import capability_of, capability_on, lacks_cuda


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("K80", (3, 7)),
        ("M60", (5, 2)),
        ("P100-PCIE-16GB", (6, 0)),
        ("P40-24Q", (6, 1)),
        ("GTX 1080 Ti", (6, 1)),
        ("V100-SXM2-16GB", (7, 0)),
        ("V100S-PCIE-32GB", (7, 0)),
        ("V100DX-32C", (7, 0)),
        ("TITAN V", (7, 0)),
        ("TITAN RTX", (7, 5)),
        ("T4", (7, 5)),
        ("T4-16C", (7, 5)),
        ("RTX 6000", (7, 5)),
        ("RTX6000-24Q", (7, 5)),
        ("RTX 6000 Ada Generation", (8, 9)),
        ("RTX 4000 SFF Ada Generation", (8, 9)),
        ("RTX6000-Ada-48Q", (8, 9)),
        ("RTX PRO 6000 Blackwell Server Edition", (12, 0)),
        ("A100-1-5C", (8, 0)),
        ("A100X", (8, 0)),
        ("A16-16Q", (8, 6)),
        ("RTX A4000", (8, 6)),
        ("RTX 4090 D", (8, 9)),
        ("RTX 4090 Laptop GPU", (8, 9)),
        ("L40", (8, 9)),
        ("H100 NVL", (9, 0)),
        ("GH200 480GB", (9, 0)),
        ("B200", (10, 0)),
        ("B300 SXM6 AC", (10, 3)),
        ("RTX 5090 D", (12, 0)),
        ("Unheard-of", None),
        ("A1000000", None),
    ],
)
def test_compute_capability_by_name(name: str, capability: tuple[int, int] | None) -> None:
    assert capability_of(name) == capability


def test_rows_of_the_table_count_before_the_series_and_agree_with_them() -> None:
    for name, gpu in gpu_models().items():
        assert capability_of(name) == gpu.compute_capability


def test_capability_of_the_record_precedes_the_name() -> None:
    assert capability_on(Gpu(model="L4", count=1, vram_gib=22)) == (8, 9)
    assert capability_on(Gpu(model="L4", count=1, vram_gib=22, compute_capability="12.0")) == (12, 0)


@pytest.mark.parametrize(
    ("name", "lacks"),
    [("A16-4B", True), ("A40-8A", True), ("A10-24Q", False), ("A100-10C", False), ("A10", False), ("RTX 4090", False)],
)
def test_vgpus_for_desktops_run_no_cuda_program(name: str, lacks: bool) -> None:
    assert lacks_cuda(name) is lacks
