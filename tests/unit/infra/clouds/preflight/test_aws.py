"""Preflight on AWS: each problem, alone and with others, and what to do about it. AWS's answers are canned."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from core.errors import DeployError
from infra.contract.stack_placement import Progress
from infra.lifecycle.preflight.checks import refuse
from tests.unit.infra.clouds.pools import behind
from tests.unit.infra.clouds.preflight import canned_aws
from tests.unit.infra.clouds.preflight.canned_aws import A, C, Look, instance, placement, refused, running, wrong
from tests.unit.infra.clouds.preflight.wrong_aws import WRONG, image


def test_a_good_day_has_a_price_by_the_hour_and_by_the_month(look: Look) -> None:
    found = look()

    assert wrong(found) == wrong(found, "warning") == []
    (price,) = [each for each in found if each.about == "price"]
    assert price.what == "$1.252 an hour, $914 a month of 730 h"
    assert "arn:aws:iam::123456789012:user/kim" in [each.what for each in found]


@pytest.mark.parametrize(("change", "line"), WRONG)
def test_each_problem_is_reported_with_its_fix(look: Look, change: dict[str, Any], line: str) -> None:
    change = dict(change)
    assert wrong(look(**change.pop("values", {}), **change)) == [line]


@pytest.mark.parametrize(
    ("states", "level"), [({C: "impaired"}, "warning"), ({A: "impaired", C: "impaired"}, "error")], ids=["one", "all"]
)
def test_an_impaired_zone_is_an_error_only_without_another_zone(look: Look, states: dict[str, str], level: str) -> None:
    zones = [{"ZoneName": zone, "State": states.get(zone, "available")} for zone in (A, C)]

    found = look({"describe_availability_zones": {"AvailabilityZones": zones}})

    assert f"zones: {C} is impaired; name other zones, or try later" in wrong(found, level)
    assert bool(wrong(found)) is (level == "error")


@pytest.mark.parametrize("state", ["information", "constrained"])
def test_a_zone_with_a_note_can_be_used(look: Look, state: str) -> None:
    """Every state but `available` counted as down: a region whose zones had a note could not be used."""
    zones = [{"ZoneName": zone, "State": state} for zone in (A, C)]

    found = look({"describe_availability_zones": {"AvailabilityZones": zones}})

    assert wrong(found) == wrong(found, "warning") == []


@pytest.mark.parametrize(("stands", "level"), [(True, "warning"), (False, "error")])
def test_existing_hosts_need_no_image(look: Look, stands: bool, level: str) -> None:
    """Preflight reported an error after the owner of an existing stack's image deleted it."""
    found = look({"describe_images": {"Images": []}}, placement=placement(progress=None if stands else Progress()))

    (line,) = [str(each) for each in found if each.about == "machine.image" and each.level == level]
    assert "ami-0a24040000000000a does not exist in ap-northeast-2" in line


def test_a_key_without_its_public_half_is_reported(look: Look, tmp_path: Path) -> None:
    private = tmp_path / "id_ed25519"
    private.write_text("a key")
    private.chmod(0o600)

    (announced,) = wrong(look(machine=f"type: g5.xlarge, identity_file: {private}"))

    assert announced == f"machine.identity_file: {private}.pub: cannot be read; " + (
        f"make it with `ssh-keygen -y -f {private} > {private}.pub`"
    )


@pytest.mark.parametrize(
    ("changes", "announced"),
    [
        ({"account": "999999999999"}, "login: arn:aws:iam::123456789012:user/kim is not in account 999999999999"),
        ({"region": "us-east-1"}, "region: the stack is in us-east-1, not in ap-northeast-2"),
    ],
    ids=["account", "region"],
)
def test_a_stack_stays_in_its_account_and_region(look: Look, changes: dict[str, str], announced: str) -> None:
    (line,) = wrong(look(placement=placement(**changes)))

    assert line.startswith(announced)


def test_all_problems_are_reported_at_once(look: Look) -> None:
    found = look(
        {"describe_images": {"Images": []}, "describe_instance_type_offerings": ()},
        {"L-DB2E81BA": 0.0, "L-0263D0A3": 0.0},
        account="999999999999",
    )

    with pytest.raises(DeployError, match="preflight of stack prod: 5 things are wrong") as caught:
        refuse(found, "prod")
    assert len(caught.value.detail.splitlines()) == 5


def test_a_denied_check_is_a_warning_and_the_others_run(look: Look) -> None:
    answers = {"describe_images": refused("UnauthorizedOperation", "DescribeImages")}
    found = look(answers, {"L-DB2E81BA": 0.0}, machine="type: g5.xlarge")

    (warning,) = wrong(found, "warning")
    assert warning.startswith("AWS DescribeImages: could not be queried: is not allowed")
    assert len(wrong(found)) == 1


def test_a_bucket_that_only_hosts_may_read_is_a_warning(look: Look) -> None:
    """S3 answers 403 without a code to a login that may not list it: that was an error, though hosts may read it."""
    found = look({"head_bucket": refused("403", "HeadBucket")}, storage={"bucket": {"name": "models-of-ours"}})

    assert wrong(found) == []
    (warning,) = wrong(found, "warning")
    assert warning.startswith("AWS HeadBucket: could not be queried: is not allowed")
    assert "s3:ListBucket" in warning


def test_a_quota_without_an_entry_is_the_default_and_hides_no_other(look: Look) -> None:
    """GetServiceQuota answers NoSuchResource for an unchanged quota: addresses and VPCs were not checked."""
    found = look({"describe_vpcs": {"Vpcs": [{}] * 5}}, {"L-DB2E81BA": None}, machine="type: g5.xlarge")

    lines = wrong(found)
    assert lines[0].startswith("quota L-DB2E81BA (on-demand G and VT instances): 0 vCPUs (AWS's default), 0 in use, 4")
    assert lines[1].startswith("quota L-F678F1CE (networks): 5 VPCs, 5 in use, 1 needed")
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("denied", "permission"),
    [
        ("get_service_quota", "servicequotas:GetServiceQuota"),
        ("describe_instances", "ec2:DescribeInstances"),
        ("describe_addresses", "ec2:DescribeAddresses"),
    ],
)
def test_each_quota_is_checked_separately(look: Look, denied: str, permission: str) -> None:
    operation = "".join(word.title() for word in denied.split("_"))
    found = look({denied: refused("AccessDenied", operation), "describe_vpcs": {"Vpcs": [{}] * 5}})

    assert any(f"ask for {permission}" in each for each in wrong(found, "warning"))
    if denied != "get_service_quota":
        assert [each.partition(" (")[0] for each in wrong(found)] == ["quota L-F678F1CE"]


def test_a_deprecated_image_can_still_be_started(look: Look) -> None:
    """It was "not there": a search by filter leaves out other owners' deprecated images. A search by id finds them."""
    asked: dict[str, Any] = {}

    class Asked(canned_aws.CannedAws):
        def describe_images(self, **arguments: Any) -> Any:
            asked.update(arguments)
            return image(DeprecationTime="2026-01-31T00:00:00.000Z")

    with patch.object(canned_aws, "CannedAws", Asked):
        found = look()

    assert asked == {"ImageIds": ["ami-0a24040000000000a"], "IncludeDeprecated": True, "IncludeDisabled": True}
    assert wrong(found) == []
    assert wrong(found, "warning") == [
        "machine.image: ami-0a24040000000000a has been deprecated since 2026-01-31: it works until its owner "
        "099720109477 removes it; write a newer image for the next host"
    ]


def test_fallbacks_that_cannot_be_had_are_warnings(look: Look) -> None:
    machine = "type: g5.xlarge, fallbacks: [g6.xlarge, g5.4xlarge]"
    found = look({"describe_instance_type_offerings": (("g5.xlarge", A), ("g5.4xlarge", A))}, machine=machine)

    assert wrong(found) == []
    assert [each.partition(":")[0] for each in wrong(found, "warning")] == [
        "machine.fallbacks[0]",
        "machine.fallbacks[1] (g5.4xlarge)",
    ]


GATEWAY: dict[str, Any] = {"gateway": {"machine": {}}}
OFFERED = {"describe_instance_type_offerings": (("g5.xlarge", A), ("t3.medium", A), ("t3.medium", C))}


def test_the_gateway_s_machine_is_checked_too(look: Look) -> None:
    found = look(OFFERED, machine="type: g5.xlarge", **GATEWAY)

    assert wrong(found) == []
    said = {each.about: each.what for each in found}
    assert said["gateway.machine.type"] == f"t3.medium is offered in {A}"
    assert said["quota L-1216C47A (on-demand standard instances)"] == "8 vCPUs, 0 in use, 2 needed"
    assert said["quota L-0263D0A3 (public addresses)"].endswith("2 needed")
    assert said["price"] == "$1.313 an hour, $958 a month of 730 h", "$0.061 more: machine, address and disk"


@pytest.mark.parametrize(
    ("answers", "quotas", "machine", "line"),
    [
        pytest.param(
            {"describe_instance_type_offerings": (("g5.xlarge", A), ("t3.medium", C))}, {}, "type: g5.xlarge",
            f"gateway.machine.type: t3.medium is not offered in {A}, {C} beside g5.xlarge; it is offered in {C}",
            id="another zone",
        ),
        pytest.param(
            {"describe_instance_type_offerings": (("g5.xlarge", A),)}, {}, "type: g5.xlarge",
            f"gateway.machine.type: t3.medium is not offered in {A}, {C} beside g5.xlarge; choose another type",
            id="no zone",
        ),
        pytest.param(OFFERED, {"L-1216C47A": 1.0}, "type: g5.xlarge",
                     "quota L-1216C47A (on-demand standard instances): 1 vCPUs, 0 in use, 2 needed", id="vCPUs"),
        pytest.param(OFFERED, {"L-1216C47A": 5.0}, "type: g5.xlarge, market: spot", "", id="spot engines"),
        pytest.param(OFFERED, {"L-0263D0A3": 1.0}, "type: g5.xlarge",
                     "quota L-0263D0A3 (public addresses): 1 addresses, 0 in use, 2 needed", id="addresses"),
    ],
)  # fmt: skip
def test_what_the_gateway_s_machine_lacks_is_reported(
    look: Look, answers: Any, quotas: dict[str, float | None], machine: str, line: str
) -> None:
    found = wrong(look(answers, quotas, machine=machine, **GATEWAY))

    assert [each[: len(line)] for each in found] == ([line] if line else [])


def test_engine_and_gateway_share_a_quota(look: Look) -> None:
    answers = {"describe_instance_type_offerings": (("m6i.2xlarge", A), ("t3.medium", A))}

    (line,) = wrong(look(answers, {"L-1216C47A": 9.0}, machine="type: m6i.2xlarge", **GATEWAY))

    assert line.startswith("quota L-1216C47A (on-demand standard instances): 9 vCPUs, 0 in use, 10 needed")


def test_the_stack_s_own_share_of_a_quota_does_not_count(look: Look) -> None:
    """An existing stack may use the share that its own machines hold."""
    tagged = {"Tags": instance("g5.xlarge", own=True)["Tags"]}
    answers = {
        "describe_instances": running(instance("g5.xlarge", own=True), instance("g5.xlarge", spot=True)),
        "describe_addresses": {"Addresses": [tagged, {}, {}, {}, {}]},
        "describe_vpcs": {"Vpcs": [tagged, {}, {}, {}, {}]},
    }

    assert wrong(look(answers, machine="type: g5.2xlarge", placement=placement())) == [
        f"machine.type: g5.2xlarge is not offered in {A}, {C}; choose another type or region"
    ]


def test_a_recorded_image_is_checked_but_not_looked_up(look: Look) -> None:
    found = look({"get_parameters": AssertionError("was asked")}, placement=placement())

    assert "ubuntu-24.04 is ami-0a24040000000000a (recorded)" in [each.what for each in found]


def test_the_example_addresses_of_our_stack_files_are_reported(look: Look) -> None:
    found = look(network={"ssh_cidrs": ["203.0.113.7/32"], "client_cidrs": ["203.0.113.0/24", "3FFF:0::/48"]})

    assert wrong(found) == [
        f"network.{key}: {cidr} is a documentation address: no client has it; write your own with /32 behind it, as "
        "`curl -s https://checkip.amazonaws.com` prints it"
        for key, cidr in (
            ("ssh_cidrs[0]", "203.0.113.7/32"),
            ("client_cidrs[0]", "203.0.113.0/24"),
            ("client_cidrs[1]", "3fff::/48"),
        )
    ]


POOLED = behind(large={"type": "g5.xlarge", "fallbacks": ["g6.xlarge"]})
TYPES = (("m6i.2xlarge", A), ("t3.medium", A), ("g5.xlarge", A), ("g6.xlarge", A))


@pytest.mark.parametrize(
    ("offered", "quotas", "line"),
    [
        pytest.param(TYPES, {}, "", id="nothing"),
        pytest.param(TYPES[:2], {}, f"pools.large.machine.type: g5.xlarge is not offered in {A}, {C}", id="no zone"),
        pytest.param((*TYPES[:2], ("g5.xlarge", C)), {},
                     f"pools.large.machine.type: g5.xlarge, g6.xlarge: not offered in {A}, where the other", id="zone"),
        pytest.param((TYPES[0], *TYPES[2:]), {}, f"gateway.machine.type: t3.medium is not offered in {A}, {C} beside "
                     "m6i.2xlarge, g5.xlarge", id="the gateway's type"),
        pytest.param(TYPES, {"L-DB2E81BA": 3.0},
                     "quota L-DB2E81BA (on-demand G and VT instances): 3 vCPUs, 0 in use, 4 needed", id="GPU quota"),
        pytest.param(TYPES, {"L-0263D0A3": 2.0},
                     "quota L-0263D0A3 (public addresses): 2 addresses, 0 in use, 3 needed", id="addresses"),
    ],
)  # fmt: skip
def test_what_a_pool_lacks_is_reported(look: Look, offered: Any, quotas: dict[str, float | None], line: str) -> None:
    answers, enough = {"describe_instance_type_offerings": offered}, {"L-1216C47A": 32.0}

    found = wrong(look(answers, enough | quotas, machine="type: m6i.2xlarge", **POOLED))

    assert [each[: len(line)] for each in found] == ([line] if line else [])
