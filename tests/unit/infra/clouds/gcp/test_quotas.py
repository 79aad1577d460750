"""Quotas on GCP: the tables of quotas have every machine type of the catalog."""

from catalog.gcp_shapes import family
from catalog.machines import machines
from infra.clouds.gcp.preflight.quotas import CPU_METRICS, GPU_METRICS

GCP = [machine for (cloud, _), machine in machines().items() if cloud == "gcp"]


def test_every_gpu_of_the_catalog_has_a_quota() -> None:
    assert {machine.gpu.name for machine in GCP if machine.gpu is not None} == {*GPU_METRICS}


def test_every_family_that_has_types_without_a_gpu_has_a_quota() -> None:
    assert {family(machine.type) for machine in GCP if machine.gpu is None} == {*CPU_METRICS}
