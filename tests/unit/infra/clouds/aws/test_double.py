"""The double of AWS: mistakes that it must catch, each in the words of AWS."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from google.rpc import status_pb2  # type: ignore[import-untyped]
from moto import mock_aws
from pulumi.runtime.proto import provider_pb2

from tests.doubles.aws.client import connect
from tests.doubles.aws.cloud import ACCOUNT
from tests.doubles.aws.order import Refusal, refuse_deletion
from tests.doubles.aws.settings import Settings
from tests.doubles.aws.states import States
from tests.doubles.aws.table import KINDS
from tests.doubles.aws.tag_keys import refuse_tag_keys
from tests.doubles.provider.kind import CloudError, HalfMadeError, Kind
from tests.doubles.provider.server import Package, Provider
from tests.doubles.provider.values import UNKNOWN, Properties, from_struct, to_struct

REGION = "ap-northeast-2"

LAUNCH = {"MetadataOptions.InstanceMetadataTags": "enabled", "TagSpecification.1.ResourceType": "instance"}
KEY = "TagSpecification.1.Tag.2.Key"


@pytest.mark.parametrize("key", ["cost center", "team/search", "팀", ".", "..", "_index"])
def test_a_launch_refuses_tag_keys_that_the_host_could_not_read(key: str) -> None:
    with pytest.raises(Refusal, match=r"^InvalidParameterValue: '.*' is not a valid tag key"):
        refuse_tag_keys("RunInstances", LAUNCH | {KEY: key})


@pytest.mark.parametrize(
    ("action", "changed"),
    [
        pytest.param("RunInstances", {KEY: "llm-deploy:ends-at"}, id="a key that the host can read"),
        pytest.param(
            "RunInstances",
            {KEY: "cost center", "MetadataOptions.InstanceMetadataTags": "disabled"},
            id="tags not in the metadata",
        ),
        pytest.param(
            "RunInstances", {KEY: "cost center", "TagSpecification.1.ResourceType": "volume"}, id="a tag of a disk"
        ),
        pytest.param("CreateVpc", {KEY: "cost center"}, id="not a launch"),
    ],
)
def test_other_tag_keys_are_accepted(action: str, changed: dict[str, str]) -> None:
    refuse_tag_keys(action, LAUNCH | changed)


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """EC2 as moto simulates it in this process; it removes resources in use, which AWS refuses."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # 1,300 of them, which take a second to make
    with mock_aws():
        yield boto3.client("ec2", region_name=REGION)


@pytest.fixture
def instance(ec2: Any) -> str:
    """A host with a fixed address and a data volume, in its own network."""
    image = ec2.register_image(Name="ubuntu", RootDeviceName="/dev/sda1")["ImageId"]
    vpc = ec2.create_vpc(CidrBlock="10.83.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.83.0.0/20", AvailabilityZone=f"{REGION}a")["Subnet"]["SubnetId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    group = ec2.create_security_group(GroupName="door", Description="door", VpcId=vpc)["GroupId"]
    made = ec2.create_network_interface(SubnetId=subnet, Groups=[group])["NetworkInterface"]["NetworkInterfaceId"]
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    ec2.associate_address(AllocationId=address, NetworkInterfaceId=made)
    tie = [{"DeviceIndex": 0, "NetworkInterfaceId": made}]
    host = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, NetworkInterfaces=tie)["Instances"][0]["InstanceId"]
    volume = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=20)["VolumeId"]
    ec2.attach_volume(Device="/dev/sdf", InstanceId=host, VolumeId=volume)
    return str(host)


def test_a_resource_in_use_cannot_be_removed(ec2: Any, instance: str) -> None:
    (seen,) = [each for group in ec2.describe_instances()["Reservations"] for each in group["Instances"]]
    (interface,) = seen["NetworkInterfaces"]
    (address,) = ec2.describe_addresses()["Addresses"]
    (data,) = [each["VolumeId"] for each in ec2.describe_volumes()["Volumes"] if each["Size"] == 20]
    in_use = {
        "DeleteSecurityGroup": ({"GroupId": interface["Groups"][0]["GroupId"]}, "DependencyViolation"),
        "DeleteSubnet": ({"SubnetId": seen["SubnetId"]}, "DependencyViolation"),
        "DetachInternetGateway": ({"VpcId": seen["VpcId"]}, "DependencyViolation"),
        "DeleteVpc": ({"VpcId": seen["VpcId"]}, "DependencyViolation"),
        "DeleteVolume": ({"VolumeId": data}, "VolumeInUse"),
        "DeleteNetworkInterface": ({"NetworkInterfaceId": interface["NetworkInterfaceId"]}, "InvalidParameterValue"),
        "ReleaseAddress": ({"AllocationId": address["AllocationId"]}, "InvalidIPAddress.InUse"),
    }

    for action, (values, code) in in_use.items():
        with pytest.raises(Refusal, match=f"^{code}: {action}: still in use by "):
            refuse_deletion(ACCOUNT, REGION, action, values)

    gateway = ec2.create_security_group(GroupName="gateway", Description="gateway", VpcId=seen["VpcId"])["GroupId"]
    refuse_deletion(ACCOUNT, REGION, "DeleteSecurityGroup", {"GroupId": gateway})
    rule = {"IpProtocol": "tcp", "FromPort": 8443, "ToPort": 8443, "UserIdGroupPairs": [{"GroupId": gateway}]}
    ec2.authorize_security_group_ingress(GroupId=interface["Groups"][0]["GroupId"], IpPermissions=[rule])
    with pytest.raises(Refusal, match="DeleteSecurityGroup: still in use by"):
        refuse_deletion(ACCOUNT, REGION, "DeleteSecurityGroup", {"GroupId": gateway})

    ec2.detach_volume(VolumeId=data, InstanceId=instance)
    refuse_deletion(ACCOUNT, REGION, "DeleteVolume", {"VolumeId": data})
    refuse_deletion(ACCOUNT, REGION, "DeleteVpc", {"VpcId": "vpc-of-nobody"})


def test_a_new_instance_is_not_found_at_first_and_one_that_ends_is_still_listed(ec2: Any, instance: str) -> None:
    states, asked = States(ACCOUNT), {"InstanceId.1": instance}
    slow = Settings(unseen_polls=2, shutting_down_polls=2)

    states.after(REGION, "RunInstances", {}, slow)
    for _poll in range(2):
        with pytest.raises(Refusal, match=r"^InvalidInstanceID.NotFound: The instance ID"):
            states.before(REGION, "DescribeInstances", asked)
    states.before(REGION, "DescribeInstances", asked)

    states.after(REGION, "TerminateInstances", asked, slow)
    seen = []
    for _poll in range(3):
        states.before(REGION, "DescribeInstances", asked)
        (group,) = ec2.describe_instances(InstanceIds=[instance])["Reservations"]
        seen.append(group["Instances"][0]["State"]["Name"])
    assert seen == ["shutting-down", "shutting-down", "terminated"]


def test_an_instance_may_be_accepted_and_ended_for_lack_of_capacity(ec2: Any, instance: str) -> None:
    States(ACCOUNT).after(REGION, "RunInstances", {}, Settings(ends_at_start=[{"zone": f"{REGION}a"}]))

    (group,) = ec2.describe_instances(InstanceIds=[instance])["Reservations"]
    (seen,) = group["Instances"]
    assert seen["State"]["Name"] == "terminated"
    assert seen["StateReason"]["Message"].startswith("Server.InsufficientInstanceCapacity: ")
    volumes = [(each["Size"], each["State"]) for each in ec2.describe_volumes()["Volumes"]]
    assert volumes == [(20, "available")], "its root disk goes with it, and its data volume comes free"


class HalfMade(Kind[Any]):
    """A resource that is made, and whose creation then fails."""

    token = "aws:ec2/vpc:Vpc"

    def create(self, _cloud: Any, _inputs: Properties) -> str:
        raise HalfMadeError("it ended", "vpc-1")


def test_a_half_made_resource_is_reported_with_its_id() -> None:
    """With the id the engine keeps it in the state, as it does with the vendors' plugins."""
    provider = Provider(Package("0", lambda *_given: None, [HalfMade()], (), frozenset()), {})
    provider.Configure(provider_pb2.ConfigureRequest(), Mock())
    provider._cloud = object()
    context = Mock()
    context.abort.side_effect = RuntimeError("aborted")
    request = provider_pb2.CreateRequest(urn="urn:pulumi:test::small::aws:ec2/vpc:Vpc::network")

    with pytest.raises(RuntimeError, match="aborted"):
        provider.Create(request, context)

    (((name, value),),) = context.set_trailing_metadata.call_args.args
    (detail,) = status_pb2.Status.FromString(value).details
    failed = provider_pb2.ErrorResourceInitFailed()
    assert name == "grpc-status-details-bin"
    assert detail.Unpack(failed)
    assert (failed.id, list(failed.reasons)) == ("vpc-1", ["it ended"])


def test_a_preview_knows_the_inputs_but_not_the_answers_of_the_cloud() -> None:
    provider = Provider(Package("0", connect, KINDS, (), frozenset()), {})
    request = provider_pb2.CreateRequest(
        urn="urn:pulumi:test::small::aws:ec2/vpc:Vpc::network",
        properties=to_struct({"cidrBlock": "10.83.0.0/16"}),
        preview=True,
    )

    seen = from_struct(provider.Create(request, Mock()).properties)

    assert seen["cidrBlock"] == "10.83.0.0/16"
    assert (seen["arn"], seen["ipv6CidrBlock"]) == (UNKNOWN, UNKNOWN)


@pytest.mark.usefixtures("ec2")
def test_a_provider_refuses_a_login_to_another_account() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "a"}
    environ["AWS_ENDPOINT_URL"] = f"https://sts.{REGION}.amazonaws.com"

    connect({"region": REGION, "allowedAccountIds": [ACCOUNT]}, environ)
    with pytest.raises(CloudError, match=f"AWS account ID not allowed: {ACCOUNT}"):
        connect({"region": REGION, "allowedAccountIds": ["999999999999"]}, environ)
