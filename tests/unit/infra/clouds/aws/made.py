"""Resources of a stack on AWS, made in the account that moto simulates in this process."""

import json
from datetime import UTC, datetime
from typing import Any

from infra.clouds.aws.api import client as api
from infra.clouds.aws.api.tags import own_tags
from infra.contract.stack_placement import KnownPlacement

REGION = "ap-northeast-2"
MINE, OTHER = "0123abcd", "4567cdef"

PLACEMENT = KnownPlacement(
    id=MINE,
    region=REGION,
    began_at=datetime(2026, 11, 21, 12, tzinfo=UTC),
    image_name="ubuntu-24.04",
    image="ami-0a24040000000000a",
    machine_type="m6i.2xlarge",
    zone=f"{REGION}a",
    zones=(f"{REGION}a",),
)
"""The placement of MINE without an account: earlier releases did not record it."""

POLICY = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}}


def client(service: str) -> Any:
    """Return the client that our commands also use."""
    return api.client(service, REGION)


def tagged(resource: str, identity: str, **more: str) -> list[dict[str, Any]]:
    """Return our tags in the form that EC2 accepts on creation."""
    tags = own_tags("prod", identity) | more
    return [{"ResourceType": resource, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]


def an_image() -> str:
    """Make a machine image and return its id."""
    return str(client("ec2").register_image(Name="ubuntu", RootDeviceName="/dev/sda1")["ImageId"])


def volume(identity: str, **more: str) -> str:
    """Make a data volume and return its id."""
    made = client("ec2").create_volume(
        AvailabilityZone=f"{REGION}a", Size=20, TagSpecifications=tagged("volume", identity, **more)
    )
    return str(made["VolumeId"])


def network(identity: str) -> None:
    """Make a network with everything that blocks its removal."""
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.83.0.0/16", TagSpecifications=tagged("vpc", identity))["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.83.0.0/20", TagSpecifications=tagged("subnet", identity))[
        "Subnet"
    ]["SubnetId"]
    gateway = ec2.create_internet_gateway(TagSpecifications=tagged("internet-gateway", identity))
    gateway_id = gateway["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc)
    table = ec2.create_route_table(VpcId=vpc, TagSpecifications=tagged("route-table", identity))
    table_id = table["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table_id, SubnetId=subnet)
    ec2.create_route(RouteTableId=table_id, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway_id)
    engines, gateway = (
        ec2.create_security_group(
            GroupName=name, Description=name, VpcId=vpc, TagSpecifications=tagged("security-group", identity)
        )["GroupId"]
        for name in ("engines", "gateway")
    )
    rule = {"IpProtocol": "tcp", "FromPort": 8443, "ToPort": 8443, "UserIdGroupPairs": [{"GroupId": gateway}]}
    ec2.authorize_security_group_ingress(GroupId=engines, IpPermissions=[rule])
    address = ec2.allocate_address(Domain="vpc", TagSpecifications=tagged("elastic-ip", identity))
    interface = ec2.create_network_interface(SubnetId=subnet, TagSpecifications=tagged("network-interface", identity))[
        "NetworkInterface"
    ]["NetworkInterfaceId"]
    ec2.associate_address(AllocationId=address["AllocationId"], NetworkInterfaceId=interface)


def named(identity: str) -> None:
    """Make the resources that are found by their names, not by tags."""
    for which in ("host", "gateway"):
        client("iam").create_role(RoleName=f"llm-prod-{identity}-{which}", AssumeRolePolicyDocument="{}")
    client("iam").put_role_policy(
        RoleName=f"llm-prod-{identity}-host", PolicyName="host", PolicyDocument=json.dumps(POLICY)
    )
    client("iam").create_instance_profile(InstanceProfileName=f"llm-prod-{identity}-host")
    client("iam").add_role_to_instance_profile(
        InstanceProfileName=f"llm-prod-{identity}-host", RoleName=f"llm-prod-{identity}-host"
    )
    client("scheduler").create_schedule_group(Name=f"llm-prod-{identity}")
    client("logs").create_log_group(logGroupName=f"/llm-deploy/llm-prod-{identity}")
    where = {"LocationConstraint": REGION}
    client("s3").create_bucket(Bucket=f"llm-prod-{identity}", CreateBucketConfiguration=where)
    client("s3").put_object(Bucket=f"llm-prod-{identity}", Key="models/a", Body=b"a")
