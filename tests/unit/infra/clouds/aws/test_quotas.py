"""Quotas on AWS: which one a machine type counts in."""

import pytest

from infra.clouds.aws.preflight.quotas import vcpu_quota

G, P, STANDARD = "L-DB2E81BA", "L-417A185B", "L-1216C47A"


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
def test_a_type_with_a_quota_of_its_own_counts_in_none_of_ours(machine_type: str, market: str) -> None:
    assert vcpu_quota(machine_type, market) is None


def test_p5_has_a_spot_quota_of_its_own() -> None:
    quotas = [vcpu_quota(each, "spot") for each in ("p4d.24xlarge", "p5.48xlarge")]

    assert [each and each.code for each in quotas] == ["L-7212CCBC", "L-C4BD4855"]
