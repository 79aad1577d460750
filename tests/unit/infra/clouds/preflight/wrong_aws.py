"""Each problem on AWS by itself, with the line that reports it."""

import pytest

from tests.unit.infra.clouds.preflight.canned_aws import GOOD, A, Answers, C, instance, refused, running

REQUEST = "aws service-quotas request-service-quota-increase --region ap-northeast-2 --service-code"


def image(**changes: object) -> Answers:
    """Return a good image with some fields changed."""
    return {"Images": [GOOD["describe_images"]["Images"][0] | changes]}


WRONG = [
    pytest.param(
        {"values": {"account": "999999999999"}},
        "login: arn:aws:iam::123456789012:user/kim is not in account 999999999999; log in to that account, or "
        "correct `account`",
        id="another account",
    ),
    pytest.param(
        {"answers": {"describe_regions": {"Regions": []}}},
        "region: AWS has no region ap-northeast-2; write one like ap-northeast-2",
        id="no such region",
    ),
    pytest.param(
        {"answers": {"describe_regions": {"Regions": [{"OptInStatus": "not-opted-in"}]}}},
        "region: ap-northeast-2 is not enabled in this account; `aws account enable-region --region-name "
        "ap-northeast-2` and wait some minutes, or take another region",
        id="region not enabled",
    ),
    pytest.param(
        {"answers": {"describe_availability_zones": {"AvailabilityZones": [{"ZoneName": A}]}}},
        f"zones[1]: {C} is not a zone of ap-northeast-2; its zones are {A}",
        id="zone that the account lacks",
    ),
    pytest.param(
        {"answers": {"describe_instance_type_offerings": [("g5.xlarge", "ap-northeast-2b")]}},
        f"machine.type: g5.xlarge is not offered in {A}, {C}; it is offered in ap-northeast-2b",
        id="type in another zone",
    ),
    pytest.param(
        {"answers": {"describe_instance_type_offerings": ()}},
        f"machine.type: g5.xlarge is not offered in {A}, {C}; choose another type or region",
        id="type nowhere",
    ),
    pytest.param(
        {"answers": {"get_parameters": {"Parameters": []}}},
        "machine.image: ubuntu-24.04 has no image for x86_64 in ap-northeast-2; write another image or an ami id of "
        "this region",
        id="no image of this name",
    ),
    pytest.param(
        {"answers": {"describe_images": {"Images": []}}},
        "machine.image: ami-0a24040000000000a does not exist in ap-northeast-2, or its owner does not share it with "
        "this account; write another image",
        id="image deleted",
    ),
    pytest.param(
        {"answers": {"describe_images": refused("InvalidAMIID.NotFound", "DescribeImages")}},
        "machine.image: ami-0a24040000000000a does not exist in ap-northeast-2, or its owner does not share it with "
        "this account; write another image",
        id="image of others, not shared",
    ),
    pytest.param(
        {"answers": {"describe_images": image(State="disabled")}},
        "machine.image: ami-0a24040000000000a is disabled by 099720109477, so no machine starts from it; write another "
        "image",
        id="image disabled",
    ),
    pytest.param(
        {"answers": {"describe_images": image(State="failed", StateReason={"Message": "snapshot gone"})}},
        "machine.image: ami-0a24040000000000a is failed (snapshot gone), so no machine starts from it; write another "
        "image",
        id="image failed",
    ),
    pytest.param(
        {"answers": {"describe_images": image(Architecture="arm64")}},
        "machine.image: ami-0a24040000000000a is for arm64, and g5.xlarge is x86_64; write an image for x86_64",
        id="image for other processors",
    ),
    pytest.param(
        {"answers": {"describe_images": image(Platform="windows")}},
        "machine.image: ami-0a24040000000000a is a Windows image; write an Ubuntu or Debian image",
        id="image of Windows",
    ),
    pytest.param(
        {
            "answers": {
                "describe_images": image(
                    RootDeviceName="/dev/sda1",
                    BlockDeviceMappings=[
                        {"DeviceName": "/dev/sdb"},
                        {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 120}},
                    ],
                )
            }
        },
        "storage.root_gib: 60 GiB is too small for ami-0a24040000000000a, which has 120 GiB; write at least 120",
        id="image larger than the root disk",
    ),
    pytest.param(
        {"quotas": {"L-DB2E81BA": 0.0}},
        f"quota L-DB2E81BA (on-demand G and VT instances): 0 vCPUs, 0 in use, 4 needed; ask for 4: {REQUEST} ec2 "
        "--quota-code L-DB2E81BA --desired-value 4",
        id="on-demand quota",
    ),
    pytest.param(
        {"quotas": {"L-3819A6DF": 2.0}, "machine": "type: g5.xlarge, market: spot"},
        f"quota L-3819A6DF (spot G and VT instances): 2 vCPUs, 0 in use, 4 needed; ask for 4: {REQUEST} ec2 "
        "--quota-code L-3819A6DF --desired-value 4",
        id="spot quota",
    ),
    pytest.param(
        {"answers": {"describe_instances": running(instance("g4dn.2xlarge"), instance("m5.large"))}},
        f"quota L-DB2E81BA (on-demand G and VT instances): 8 vCPUs, 8 in use, 4 needed; ask for 12: {REQUEST} ec2 "
        "--quota-code L-DB2E81BA --desired-value 12",
        id="quota used up by others",
    ),
    pytest.param(
        {"answers": {"describe_addresses": {"Addresses": [{}] * 5}}},
        f"quota L-0263D0A3 (public addresses): 5 addresses, 5 in use, 1 needed; ask for 6: {REQUEST} ec2 --quota-code "
        "L-0263D0A3 --desired-value 6",
        id="addresses",
    ),
    pytest.param(
        {"answers": {"describe_vpcs": {"Vpcs": [{}] * 5}}},
        f"quota L-F678F1CE (networks): 5 VPCs, 5 in use, 1 needed; ask for 6: {REQUEST} vpc --quota-code L-F678F1CE "
        "--desired-value 6",
        id="networks",
    ),
    pytest.param(
        {"values": {"network__id": "vpc-0123456789abcdef0", "network__subnets": ["subnet-0123456789abcdef0"]}},
        "network.subnets[0]: subnet-0123456789abcdef0 does not exist in ap-northeast-2; write an existing one",
        id="subnet deleted",
    ),
    pytest.param(
        {"values": {"storage": {"bucket": {"name": "models-of-ours"}}}, "answers": {"head_bucket": refused("404")}},
        "storage.bucket.name: models-of-ours does not exist; write the name of a bucket that exists",
        id="bucket",
    ),
    pytest.param(
        {"machine": "type: g5.xlarge, market: spot, spot_max_usd_per_hour: 0.1"},
        "machine.spot_max_usd_per_hour: 0.1 is below the market's $0.4000; write more",
        id="price cap below the market",
    ),
]
