"""Quotas on AWS: the quota of each machine type."""

import pytest

from catalog.machines import machines
from infra.clouds.aws.preflight.quotas import vcpu_quota

G, P, STANDARD = "L-DB2E81BA", "L-417A185B", "L-1216C47A"

SPOT_G, SPOT_P, SPOT_P5, SPOT_STANDARD = "L-3819A6DF", "L-7212CCBC", "L-C4BD4855", "L-34B43A08"

QUOTAS_OF_CATALOG = {
    **dict.fromkeys(
        ["c6i", "c7i", "m5", "m6a", "m6i", "m7i", "r5", "r6a", "r6i", "r7i", "t2", "t3", "t3a"],
        (STANDARD, SPOT_STANDARD),
    ),
    **dict.fromkeys(["g4dn", "g5", "g6", "g6e"], (G, SPOT_G)),
    **dict.fromkeys(["p4d", "p4de"], (P, SPOT_P)),
    **dict.fromkeys(["p5", "p5e", "p5en"], (P, SPOT_P5)),
}
"""On-demand and spot quotas of every family in the catalog. Look a new family up at AWS: its letter may mislead."""


@pytest.mark.parametrize(
    ("code", "types"),
    [
        (STANDARD, "a1.large c7i.large d3en.xlarge h1.2xlarge i4i.large m6i.large r7i.large t3.large z1d.large"),
        (STANDARD, "im4gn.large is4gen.large"),
        (G, "g5.xlarge g4dn.xlarge g6e.xlarge gr6.4xlarge vt1.3xlarge"),
        (P, "p3.2xlarge p4d.24xlarge p5.48xlarge"),
    ],
)
def test_a_type_counts_in_the_quota_of_its_families(code: str, types: str) -> None:
    found = [vcpu_quota(each, "on_demand") for each in types.split()]

    assert [each and each.code for each in found] == [code] * len(found)


@pytest.mark.parametrize(
    "machine_type",
    [
        "x2idn.16xlarge",
        "inf2.xlarge",
        "trn1.2xlarge",
        "dl1.24xlarge",
        "hpc7a.12xlarge",
        "mac2.metal",
        "f1.2xlarge",
        "u-6tb1.metal",
    ],
)
@pytest.mark.parametrize("market", ["on_demand", "spot"])
def test_a_type_with_a_quota_of_its_own_has_no_family_quota(machine_type: str, market: str) -> None:
    assert vcpu_quota(machine_type, market) is None


def test_every_type_of_the_catalog_counts_in_the_quotas_of_its_family() -> None:
    found = {
        machine.family: tuple(
            quota and quota.code for quota in (vcpu_quota(name, "on_demand"), vcpu_quota(name, "spot"))
        )
        for (cloud, name), machine in machines().items()
        if cloud == "aws"
    }
    assert found == QUOTAS_OF_CATALOG


def test_p5_has_a_spot_quota_of_its_own() -> None:
    quotas = [vcpu_quota(each, "spot") for each in ("p4d.24xlarge", "p5.48xlarge")]

    assert [each and each.code for each in quotas] == ["L-7212CCBC", "L-C4BD4855"]
