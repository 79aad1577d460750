"""What a changed stack file changes on AWS, and what it keeps: real CLI, engine and program, simulated cloud."""

import json
import re
from datetime import timedelta
from typing import Any

from tests.doubles.aws.running import RunningAws
from tests.doubles.aws.seed import UBUNTU_24, UBUNTU_24_NEWER, UBUNTU_PARAMETER
from tests.engine.aws_stacks import (
    REGION,
    ends_at,
    everything,
    instances,
    not_allowed,
    opened,
    stack_text,
    untagged,
    volumes,
    with_gateway,
    with_pool,
)
from tests.engine.checkout import Checkout


def test_disk_address_and_host_key_outlast_a_type_change_and_a_lost_instance(
    cloud_checkout: Checkout, aws: RunningAws
) -> None:
    """A newer image of the same name changes nothing."""
    stack = cloud_checkout.stack("aws-type", stack_text())
    cloud_checkout.run("up", stack)
    assert untagged(aws) == []
    (before,), disks = instances(aws), volumes(aws).keys()
    (host,) = cloud_checkout.outputs(stack)["hosts"]
    newer = {UBUNTU_PARAMETER.format(release="24.04", arch="amd64", gp=3): UBUNTU_24_NEWER}
    aws.control.set_parameters(REGION, newer)

    cloud_checkout.stack("aws-type", stack_text("type: m6i.4xlarge").replace("ttl_hours: 8", "ttl_hours: 6"))
    aws.control.set(out_of_stock=[{"zone": "ap-northeast-2a"}])
    done = cloud_checkout.run("up", stack)
    assert done.returncode == 1
    assert "the data volume is in ap-northeast-2a: name machine.fallbacks, try later" in done.stderr
    assert volumes(aws).keys() == disks, "the stack must not move to another zone"
    aws.control.set()
    done = cloud_checkout.run("up", stack)

    assert done.returncode == 0, done.stderr
    (changed,) = instances(aws)
    assert (changed["InstanceType"], changed["ImageId"]) == ("m6i.4xlarge", UBUNTU_24)
    assert changed["State"]["Name"] == "running", "the attempt without stock must start the host again"
    assert ends_at(changed) == ends_at(before) - timedelta(hours=2)
    assert changed["InstanceId"] == before["InstanceId"]
    assert volumes(aws).keys() == disks

    aws.client("ec2", REGION).terminate_instances(InstanceIds=[before["InstanceId"]])
    done = cloud_checkout.run("up", stack)

    assert done.returncode == 0, done.stderr
    (after,) = instances(aws)
    assert after["InstanceId"] != before["InstanceId"]
    assert volumes(aws).keys() == disks
    (again,) = cloud_checkout.outputs(stack)["hosts"]
    assert (again["address"], again["host_keys"]) == (host["address"], host["host_keys"])


WEEKLY = ', weekly: {start: "08:00", stop: "20:00", time_zone: Asia/Seoul}'


def test_a_stack_uses_the_kms_key_boundary_and_path_of_its_file(cloud_checkout: Checkout, aws: RunningAws) -> None:
    """The stack's name begins like an id and a range has another notation. A new KMS key replaces no resource.

    The stack has a gateway's machine and a second pool, which go and leave the engine of pool main alone.
    """
    before = everything(aws)
    iam, kms = aws.client("iam"), aws.client("kms", REGION)
    boundary = iam.create_policy(PolicyName="bounds", Path="/teams/", PolicyDocument=json.dumps(BOUNDS))["Policy"][
        "Arn"
    ]
    first, second = (kms.create_key()["KeyMetadata"]["Arn"] for _each in range(2))
    more = f"storage: {{kms_key: '{first}'}}\n    iam: {{permissions_boundary: '{boundary}', path: /llm/}}"
    text = stack_text(lifetime=WEEKLY, more=more).replace('"2001:2::/48"', '"2001:2:0:0::/48"')
    stack = cloud_checkout.stack("sg-mine", with_pool(with_gateway(text), LARGE))

    done = cloud_checkout.run("up", stack)
    assert done.returncode == 0, done.stderr
    assert {each.get("KmsKeyId") for each in volumes(aws).values()} == {first}
    roles = [iam.get_role(RoleName=each["RoleName"])["Role"] for each in iam.list_roles()["Roles"]]
    assert {(each["Path"], _boundary(each)) for each in roles} == {("/llm/", boundary)}
    assert len(roles) == 3
    found, disks = {each["InstanceId"]: each["InstanceType"] for each in instances(aws)}, volumes(aws)
    assert sorted(found.values()) == ["m6i.2xlarge", "r6i.xlarge", "r6i.xlarge", "t3.medium"]
    (host,) = (each for each in instances(aws) if each["InstanceType"] == "m6i.2xlarge")
    assert untagged(aws) == []

    cloud_checkout.stack("sg-mine", with_pool(with_gateway(text.replace(first, second)), LARGE))
    again = cloud_checkout.run("up", stack)
    assert again.returncode == 0, again.stderr
    assert cloud_checkout.result(stack, "up.json")["changes"] == {}, again.stderr
    assert {each["InstanceId"] for each in instances(aws)} == found.keys()
    assert volumes(aws).keys() == disks.keys()

    _its_gateway_goes_and_comes_back(cloud_checkout, aws, text, host)
    (disk,) = volumes(aws)
    assert disks[disk]["Attachments"][0]["InstanceId"] == host["InstanceId"], "the gateway's machine has no data volume"
    assert cloud_checkout.run("down", stack).returncode == 0
    assert everything(aws) == before
    of_this_test = {"iam:CreatePolicy", "kms:CreateKey"}
    assert set(not_allowed(aws.control.operations())) <= of_this_test, "the policies in docs/aws.md lack it"


def _its_gateway_goes_and_comes_back(checkout: Checkout, aws: RunningAws, text: str, host: Any) -> None:
    """Remove the pool and the gateway's own machine beside a running host, and add the latter again.

    A type without stock changes nothing.
    """
    (engines,) = (each["GroupId"] for each in host["NetworkInterfaces"][0]["Groups"])
    checkout.stack("sg-mine", text)
    alone = checkout.run("up", "sg-mine")
    assert alone.returncode == 0, alone.stderr
    changes = checkout.result("sg-mine", "up.json")["changes"]
    assert changes.keys() == {"create", "delete"}, changes
    assert {each.split("_")[0] for each in changes["create"]} == {
        "sg-mine-clients-198.18.0.0",
        "sg-mine-clients-2001-2--",
    }
    beside = [
        each for each in changes["delete"] if not re.search(r"-(large-[12]|gateway|engine-84[04][36])(-|$)", each)
    ]
    assert beside == [], "only the pool, the gateway and the ports between it and the engines go"
    assert [each["InstanceId"] for each in instances(aws)] == [host["InstanceId"]]
    assert len(volumes(aws)) == 1
    assert "gateway_host" not in checkout.outputs("sg-mine")
    assert opened(aws, engines) == {(22, "198.18.0.7/32"), (443, "198.18.0.0/24"), (443, "2001:2::/48")}

    with_fallback = text.replace("type: m6i.2xlarge", "type: m6i.2xlarge, fallbacks: [m6i.4xlarge]")
    checkout.stack("sg-mine", with_gateway(with_fallback))
    aws.control.set(out_of_stock=[{"type": "t3.medium"}])
    lacking = checkout.run("up", "sg-mine")
    assert lacking.returncode == 1
    assert "write another gateway.machine.type, or try later" in lacking.stderr
    (still,) = instances(aws)
    assert (still["InstanceId"], still["InstanceType"]) == (host["InstanceId"], "m6i.2xlarge"), "no fallback was tried"

    aws.control.set()
    done = checkout.run("up", "sg-mine")
    assert done.returncode == 0, done.stderr
    gateway, engine = sorted(instances(aws), key=lambda each: str(each["InstanceId"]) == host["InstanceId"])
    assert (engine["InstanceId"], engine["LaunchTime"]) == (host["InstanceId"], host["LaunchTime"])
    assert engine["NetworkInterfaces"][0]["Groups"][0]["GroupId"] == engines
    assert gateway["Placement"]["AvailabilityZone"] == engine["Placement"]["AvailabilityZone"]
    outputs = checkout.outputs("sg-mine")
    assert outputs["gateway_host"] == "sg-mine-gateway"
    assert {each["name"]: each["private_address"] for each in outputs["hosts"]} == {
        "sg-mine-1": engine["PrivateIpAddress"],
        "sg-mine-gateway": gateway["PrivateIpAddress"],
    }
    own = gateway["NetworkInterfaces"][0]["Groups"][0]["GroupId"]
    assert opened(aws, engines) == {(22, "198.18.0.7/32"), (8443, own), (8406, own)}
    assert opened(aws, own) == {(22, "198.18.0.7/32"), (443, "198.18.0.0/24"), (443, "2001:2::/48")}


LARGE = "type: r6i.xlarge"

BOUNDS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def _boundary(role: Any) -> str:
    return str(role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"))
