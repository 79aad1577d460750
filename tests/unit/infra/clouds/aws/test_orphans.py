"""Orphans on AWS: ours are found and removed in an order that works; other people's resources stay."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.moto_api._internal.models import moto_api_backend

from core.errors import DeployError, UsageError
from infra.clouds import stack_resources
from infra.clouds.aws.api import client as api
from infra.clouds.aws.api.tags import ID, KEEP
from infra.clouds.aws.cloud import CLOUD
from infra.clouds.aws.orphans import resource_kinds
from infra.clouds.aws.orphans.in_network import others_in, users_of
from infra.clouds.aws.orphans.search import find_in, find_resources, places, remove_resources
from infra.clouds.cloud import Cloud
from infra.clouds.resources.denied_calls import DeniedError
from infra.clouds.resources.kinds import CloudResource
from infra.contract.stack_placement import Placement
from tests.doubles.aws.model_rules import refuse_violations
from tests.doubles.aws.order import Refusal, refuse_deletion
from tests.unit.infra.clouds.aws.made import (
    MINE,
    OTHER,
    PLACEMENT,
    REGION,
    an_image,
    client,
    named,
    network,
    tagged,
    volume,
)


@pytest.fixture(scope="module")
def account() -> Iterator[None]:
    """An account that moto simulates in this process; clients are shared, because each takes half a second."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        # By default moto makes 1,300 images, each with a snapshot and a volume, for each test: four fifths of the time.
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        api._client.cache_clear()
        api._session.cache_clear()
        api._session().events.register("before-parameter-build", refuse_violations)
        yield
    api._client.cache_clear()
    api._session.cache_clear()


@pytest.fixture(autouse=True)
def _empty(account: None) -> None:  # noqa: ARG001  # what is emptied
    moto_api_backend.reset()


def test_an_empty_account_has_no_orphans() -> None:
    assert find_resources(REGION) == []


def test_all_of_a_stack_is_removed_and_the_other_stays() -> None:
    for identity in (MINE, OTHER):
        network(identity)
        named(identity)
        volume(identity)
    others = set(find_resources(REGION, OTHER))
    mine = find_resources(REGION, MINE)
    assert {resource.kind for resource in mine} == {
        "address", "bucket", "instance profile", "internet gateway", "log group", "network", "network interface",
        "role", "route table", "schedule group", "security group", "subnet", "volume",
    }  # fmt: skip

    remove_resources(mine, sleep=lambda _s: None)

    assert find_resources(REGION, MINE) == []
    assert set(find_resources(REGION, OTHER)) == others


@pytest.mark.parametrize("order", [1, -1], ids=["as listed", "reversed"])
def test_the_gateway_s_group_is_removed_after_the_group_whose_rule_names_it(
    monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    network(MINE)
    groups = [resource for resource in find_resources(REGION, MINE) if resource.kind == "security group"]
    refusals: list[str] = []

    def call(service: str, region: str, method: str, **arguments: Any) -> Any:
        if method == "delete_security_group":
            try:
                refuse_deletion("123456789012", region, "DeleteSecurityGroup", arguments)
            except Refusal as refusal:
                refusals.append(str(arguments["GroupId"]))
                raise DeployError(str(refusal)) from None
        return api.call(service, region, method, **arguments)

    monkeypatch.setattr(resource_kinds, "call", call)

    remove_resources(groups[::order], sleep=lambda _s: None)

    assert len(groups) == 2
    assert len(refusals) <= 1
    assert not [resource for resource in find_resources(REGION, MINE) if resource.kind == "security group"]


def test_resources_name_their_stack_and_owner() -> None:
    identity = volume(MINE, **{KEEP: "yes"})

    (resource,) = find_resources(REGION)

    assert (resource.id, resource.placement_id, resource.stack, resource.keep) == (identity, MINE, "prod", True)
    assert str(resource) == f"volume {identity} in {REGION}, 20 GiB (stack prod)"


def test_a_terminated_instance_is_not_an_orphan() -> None:
    ec2 = client("ec2")
    image = an_image()
    made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=tagged("instance", MINE))
    assert [resource.kind for resource in find_resources(REGION, MINE)] == ["instance"]

    ec2.terminate_instances(InstanceIds=[made["Instances"][0]["InstanceId"]])

    assert find_resources(REGION, MINE) == []


def test_an_active_spot_request_is_an_orphan() -> None:
    ec2 = client("ec2")
    image = an_image()
    ec2.request_spot_instances(
        SpotPrice="1",
        LaunchSpecification={"ImageId": image, "InstanceType": "t3.large"},
        TagSpecifications=tagged("spot-instances-request", MINE),
    )
    found = find_resources(REGION, MINE)
    assert "spot request" in {resource.kind for resource in found}

    remove_resources(found, sleep=lambda _s: None)

    assert find_resources(REGION, MINE) == []


def test_a_spot_request_without_tags_belongs_to_the_stack_of_its_instance() -> None:
    ec2 = client("ec2")
    image = an_image()
    launch = {"ImageId": image, "InstanceType": "t3.large"}
    (made,) = ec2.request_spot_instances(LaunchSpecification=launch)["SpotInstanceRequests"]
    ec2.create_tags(Resources=[made["InstanceId"]], Tags=tagged("instance", MINE)[0]["Tags"])
    ec2.request_spot_instances(LaunchSpecification=launch)  # another person's

    found = {resource.kind: resource for resource in find_resources(REGION, MINE)}

    assert found["spot request"].id == made["SpotInstanceRequestId"]
    assert found["spot request"].placement_id == MINE


def test_a_failed_removal_is_reported_with_the_answer_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    volume(MINE)
    real = api.call

    def call(service: str, region: str, method: str, **arguments: Any) -> Any:
        if method == "delete_volume":
            raise DeployError("VolumeInUse: attached")
        return real(service, region, method, **arguments)

    monkeypatch.setattr("infra.clouds.aws.orphans.resource_kinds.call", call)
    now = iter(range(0, 1000, 100))

    with pytest.raises(DeployError, match="resources still exist after 240 s") as caught:
        remove_resources(find_resources(REGION, MINE), clock=lambda: float(next(now)), sleep=lambda _s: None)

    assert "VolumeInUse: attached" in caught.value.detail


def refuse(monkeypatch: pytest.MonkeyPatch, method: str, code: str) -> None:
    """Let AWS refuse one method with a code."""

    class Refusing:
        def __init__(self, real: Any) -> None:
            self._real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def can_paginate(self, name: str) -> bool:
            return name != method and bool(self._real.can_paginate(name))

    def refused(_self: Any, **_arguments: Any) -> Any:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, method.title().replace("_", ""))

    setattr(Refusing, method, refused)
    real = api.client
    monkeypatch.setattr(api, "client", lambda service, region: Refusing(real(service, region)))


@pytest.mark.parametrize(
    ("method", "code", "parts", "reported"),
    [
        pytest.param("list_buckets", "AccessDenied", (), None, id="without a bucket"),
        pytest.param("list_buckets", "AccessDenied", ("bucket",), "ask for s3:ListAllMyBuckets", id="with a bucket"),
        pytest.param("list_buckets", "AccessDenied", None, "ask for s3:ListAllMyBuckets", id="parts not recorded"),
        pytest.param("describe_budgets", "AccessDeniedException", (), None, id="without a budget"),
        pytest.param("describe_budgets", "AccessDeniedException", ("budget",), "budgets:ViewBudget", id="a budget"),
        pytest.param("describe_vpcs", "UnauthorizedOperation", (), None, id="a network of others"),
        pytest.param("describe_volumes", "UnauthorizedOperation", (), "ec2:DescribeVolumes", id="every stack has it"),
    ],
)
def test_a_denied_list_counts_only_for_what_a_stack_may_have(
    monkeypatch: pytest.MonkeyPatch, method: str, code: str, parts: tuple[str, ...] | None, reported: str | None
) -> None:
    """A login that may not list buckets could never forget a stack, even one without a bucket."""
    refuse(monkeypatch, method, code)

    lines = stack_resources.find(CLOUD, PLACEMENT.model_copy(update={"parts": parts}))

    assert bool(lines) is (reported is not None)
    assert all(line.startswith("not known: ") and str(reported) in line for line in lines)


LISTS = (
    "describe_instances", "describe_spot_instance_requests", "describe_addresses", "describe_network_interfaces",
    "describe_volumes", "describe_key_pairs", "describe_security_groups", "describe_vpc_endpoints", "describe_subnets",
    "describe_route_tables", "describe_internet_gateways", "describe_vpcs", "list_schedule_groups",
    "list_instance_profiles", "list_roles", "list_role_policies", "describe_log_groups", "list_buckets",
    "get_bucket_tagging", "describe_budgets", "get_caller_identity", "describe_tags",
)  # fmt: skip
"""Every call of the search."""


@pytest.mark.parametrize("method", LISTS)
def test_one_denied_call_does_not_keep_machines_or_disks(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """`down` ended where buckets may not be listed, and a machine kept running."""
    ec2 = client("ec2")
    made = ec2.run_instances(ImageId=an_image(), MinCount=1, MaxCount=1, TagSpecifications=tagged("instance", MINE))
    disk = volume(MINE)
    now = itertools.count(step=10)
    with monkeypatch.context() as patch:
        refuse(patch, method, "AccessDenied")
        found = find_resources(REGION, MINE)
        with contextlib.suppress(DeployError):
            remove_resources(found, clock=lambda: float(next(now)), sleep=lambda _s: None)

    seen = ec2.describe_instances(InstanceIds=[made["Instances"][0]["InstanceId"]])["Reservations"]
    assert seen[0]["Instances"][0]["State"]["Name"] in ("shutting-down", "terminated")
    assert disk not in [each["VolumeId"] for each in ec2.describe_volumes()["Volumes"]]
    assert all("AccessDenied" not in str(each) and "ask for" in str(each) for each in found.unasked)


def test_a_kept_volume_stays_where_volumes_may_not_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, other = volume(MINE, **{KEEP: "yes"}), volume(MINE)
    refuse(monkeypatch, "describe_volumes", "UnauthorizedOperation")

    found = find_resources(REGION, MINE)

    assert {(resource.id, resource.keep) for resource in found} == {(kept, True), (other, False)}


def test_a_root_disk_is_not_an_orphan_where_volumes_may_not_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tags do not name its instance: an `up` after an interrupted one asked to remove it."""
    made = client("ec2").run_instances(
        ImageId=an_image(), MinCount=1, MaxCount=1, TagSpecifications=tagged("instance", MINE)
    )
    host = made["Instances"][0]["InstanceId"]
    volume(MINE)  # like a root disk: the tags of the stack, and an id that is not in the state
    orphan = client("ec2").allocate_address(Domain="vpc", TagSpecifications=tagged("elastic-ip", MINE))["AllocationId"]
    refuse(monkeypatch, "describe_volumes", "UnauthorizedOperation")

    (removed,) = stack_resources.remove_orphans(CLOUD, PLACEMENT, {host}, 60)

    assert removed.startswith(f"address {orphan} ")


def guarded_network() -> str:
    """Make a network with the resources that GuardDuty adds to it; return its id."""
    ec2 = client("ec2")
    vpc = str(ec2.create_vpc(CidrBlock="10.83.0.0/16", TagSpecifications=tagged("vpc", MINE))["Vpc"]["VpcId"])
    managed = [{"Key": "GuardDutyManaged", "Value": "true"}]
    group = ec2.create_security_group(
        GroupName=f"GuardDutyManagedSecurityGroup-{vpc}",
        Description="GuardDuty",
        VpcId=vpc,
        TagSpecifications=[{"ResourceType": "security-group", "Tags": managed}],
    )["GroupId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.83.0.0/20")["Subnet"]["SubnetId"]
    ec2.create_tags(Resources=[subnet], Tags=tagged("subnet", MINE)[0]["Tags"])
    ec2.create_vpc_endpoint(
        VpcId=vpc,
        ServiceName=f"com.amazonaws.{REGION}.guardduty-data",
        VpcEndpointType="Interface",
        SubnetIds=[subnet],
        SecurityGroupIds=[group],
        TagSpecifications=[{"ResourceType": "vpc-endpoint", "Tags": managed}],
    )
    return vpc


def test_resources_of_guard_duty_in_our_network_are_removed_with_it() -> None:
    """Its endpoint and security group kept the network: `down` always failed, and did not name them."""
    vpc = guarded_network()
    found = find_resources(REGION, MINE)
    managed = [resource for resource in found if resource.kind.startswith("GuardDuty ")]
    assert [resource.kind for resource in managed] == ["GuardDuty endpoint", "GuardDuty security group"]
    assert all(CLOUD.is_known(resource, set()) for resource in managed), "it stays while the network does"

    remove_resources(found, sleep=lambda _s: None)

    assert vpc not in [each["VpcId"] for each in client("ec2").describe_vpcs()["Vpcs"]]


def test_resources_of_others_in_our_network_are_named_and_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    ec2 = client("ec2")
    vpc = guarded_network()
    group = ec2.create_security_group(GroupName="theirs", Description="of a colleague", VpcId=vpc)["GroupId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.83.16.0/20")["Subnet"]["SubnetId"]
    interface = ec2.create_network_interface(SubnetId=subnet, Description="ELB app/front/1")["NetworkInterface"]
    endpoint = ec2.create_vpc_endpoint(VpcId=vpc, ServiceName=f"com.amazonaws.{REGION}.s3")["VpcEndpoint"]
    acl = ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"]
    real = api.call

    def refusing(service: str, region: str, method: str, **arguments: Any) -> Any:
        if method == "delete_vpc":  # moto removes a network that is in use
            raise DeployError("DependencyViolation: has dependencies and cannot be deleted", where="AWS DeleteVpc")
        return real(service, region, method, **arguments)

    monkeypatch.setattr(resource_kinds, "call", refusing)
    now = itertools.count(step=20)

    with pytest.raises(DeployError, match="resources still exist") as caught:
        remove_resources(find_resources(REGION, MINE), clock=lambda: float(next(now)), sleep=lambda _s: None)

    reported = caught.value.detail
    assert f"network {vpc}" in reported
    assert f"in it: security group {group} (theirs: of a colleague), made by account" in reported
    assert f"`aws ec2 delete-subnet --subnet-id {subnet}`" in reported
    assert f"network interface {interface['NetworkInterfaceId']} (ELB app/front/1)" in reported
    assert "delete the load balancer app/front/1" in reported
    assert f"`aws ec2 delete-vpc-endpoints --vpc-endpoint-ids {endpoint['VpcEndpointId']}`" in reported
    assert f"`aws ec2 delete-network-acl --network-acl-id {acl}`" in reported
    assert reported.count("network ACL") == 1, "the network's own goes with it"
    assert "GuardDuty" not in reported
    assert group in [each["GroupId"] for each in ec2.describe_security_groups()["SecurityGroups"]]


def network_with_gateways_of_others() -> tuple[str, dict[str, str]]:
    """Make a stack's network with what a colleague may attach to it; return its id, and the attachments by kind."""
    ec2 = client("ec2")
    vpc = str(ec2.create_vpc(CidrBlock="10.85.0.0/16", TagSpecifications=tagged("vpc", MINE))["Vpc"]["VpcId"])
    other = str(ec2.create_vpc(CidrBlock="10.86.0.0/16")["Vpc"]["VpcId"])
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.85.0.0/20")["Subnet"]["SubnetId"]
    made = {
        "nat": ec2.create_nat_gateway(SubnetId=subnet, ConnectivityType="private")["NatGateway"]["NatGatewayId"],
        "igw": ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"],
        "eigw": ec2.create_egress_only_internet_gateway(VpcId=vpc)["EgressOnlyInternetGateway"][
            "EgressOnlyInternetGatewayId"
        ],
        "carrier": ec2.create_carrier_gateway(VpcId=vpc)["CarrierGateway"]["CarrierGatewayId"],
        "vpn": ec2.create_vpn_gateway(Type="ipsec.1")["VpnGateway"]["VpnGatewayId"],
        "asked": ec2.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=other)["VpcPeeringConnection"][
            "VpcPeeringConnectionId"
        ],
        "taken": ec2.create_vpc_peering_connection(VpcId=other, PeerVpcId=vpc)["VpcPeeringConnection"][
            "VpcPeeringConnectionId"
        ],
        "table": ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"],
    }
    ec2.attach_internet_gateway(InternetGatewayId=made["igw"], VpcId=vpc)
    ec2.attach_vpn_gateway(VpnGatewayId=made["vpn"], VpcId=vpc)
    transit = ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    tie = ec2.create_transit_gateway_vpc_attachment(TransitGatewayId=transit, VpcId=vpc, SubnetIds=[subnet])
    made["transit"] = tie["TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"]
    ec2.create_egress_only_internet_gateway(VpcId=other)  # belongs to another network
    ec2.create_route_table(VpcId=other)
    return vpc, made


REMOVALS = {
    "nat": "delete-nat-gateway --nat-gateway-id {id}`",
    "igw": "detach-internet-gateway --internet-gateway-id {id} --vpc-id {vpc}`",
    "eigw": "delete-egress-only-internet-gateway --egress-only-internet-gateway-id {id}`",
    "carrier": "delete-carrier-gateway --carrier-gateway-id {id}`",
    "vpn": "detach-vpn-gateway --vpn-gateway-id {id} --vpc-id {vpc}`",
    "asked": "delete-vpc-peering-connection --vpc-peering-connection-id {id}`",
    "taken": "delete-vpc-peering-connection --vpc-peering-connection-id {id}`",
    "transit": "delete-transit-gateway-vpc-attachment --transit-gateway-attachment-id {id}`",
    "table": "delete-route-table --route-table-id {id}`",
}
"""The command that removes each, after `aws ec2`."""


def test_gateways_peerings_and_attachments_of_others_are_named_with_their_commands() -> None:
    """A VPN gateway kept the network and was not named. NAT gateways were listed with a filter that EC2 refuses."""
    vpc, made = network_with_gateways_of_others()

    lines = others_in(CloudResource("network", vpc, REGION, "prod", MINE))

    for what, removal in REMOVALS.items():
        command = f"`aws ec2 {removal.format(id=made[what], vpc=vpc)}"
        assert [line for line in lines if made[what] in line and line.endswith(command)], (what, lines)
    assert not [line for line in lines if line.startswith("not known")]
    assert len([line for line in lines if "egress-only" in line]) == 1, "that of another network is not named"


@pytest.mark.parametrize(
    "method",
    [
        "describe_nat_gateways", "describe_internet_gateways", "describe_egress_only_internet_gateways",
        "describe_carrier_gateways", "describe_vpn_gateways", "describe_transit_gateway_vpc_attachments",
        "describe_vpc_peering_connections", "describe_route_tables",
    ],
)  # fmt: skip
def test_one_denied_list_of_others_does_not_hide_the_rest(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    vpc, made = network_with_gateways_of_others()
    noun = method.removeprefix("describe_")
    refuse(monkeypatch, method, "UnauthorizedOperation")

    lines = others_in(CloudResource("network", vpc, REGION, "prod", MINE))

    operation = "".join(map(str.title, method.split("_")))
    assert [line for line in lines if line.startswith("not known: ") and f"ask for ec2:{operation}," in line], noun
    assert len([each for each in made.values() if any(each in line for line in lines)]) >= len(made) - 2


@pytest.mark.parametrize(
    ("description", "removes"),
    [
        pytest.param(
            "ELB app/front/50dc",
            f"aws elbv2 delete-load-balancer --load-balancer-arn arn:aws:elasticloadbalancing:{REGION}:"
            "123456789012:loadbalancer/app/front/50dc",
            id="application",
        ),
        pytest.param(
            "ELB net/inner/50dc",
            f"aws elbv2 delete-load-balancer --load-balancer-arn arn:aws:elasticloadbalancing:{REGION}:"
            "123456789012:loadbalancer/net/inner/50dc",
            id="network",
        ),
        pytest.param("ELB old", "aws elb delete-load-balancer --load-balancer-name old", id="classic"),
    ],
)
def test_a_load_balancer_of_others_is_named_with_the_command_that_deletes_it(description: str, removes: str) -> None:
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.87.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.87.0.0/20", AvailabilityZone=f"{REGION}a")["Subnet"]["SubnetId"]
    ec2.create_network_interface(SubnetId=subnet, Description=description)

    lines = others_in(CloudResource("network", vpc, REGION, "prod", MINE))

    assert [line for line in lines if line.endswith(f"`{removes}`")], lines


def test_rules_that_name_our_security_group_are_named_where_interfaces_may_not_be_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One denied list ended the search: the rule that kept the group was not named."""
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.88.0.0/16")["Vpc"]["VpcId"]
    door, theirs = (
        ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"] for name in ("door", "theirs")
    )
    pair = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "UserIdGroupPairs": [{"GroupId": door}]}
    ec2.authorize_security_group_ingress(GroupId=theirs, IpPermissions=[pair])
    refuse(monkeypatch, "describe_network_interfaces", "UnauthorizedOperation")

    lines = users_of(CloudResource("security group", door, REGION, "prod", MINE))

    assert "ask for ec2:DescribeNetworkInterfaces" in lines[0]
    assert lines[1] == f"a rule of security group {theirs} (theirs) names it; remove the rule"


def test_interfaces_of_others_that_use_our_security_group_are_named() -> None:
    """Another person's interface used the group: the group stayed, and `down` did not say why."""
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.84.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.84.0.0/20")["Subnet"]["SubnetId"]
    door, theirs = (
        ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc, **more)["GroupId"]
        for name, more in (("door", {"TagSpecifications": tagged("security-group", MINE)}), ("theirs", {}))
    )
    interface = ec2.create_network_interface(SubnetId=subnet, Groups=[door], Description="of a colleague")
    identity = interface["NetworkInterface"]["NetworkInterfaceId"]
    pair = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "UserIdGroupPairs": [{"GroupId": door}]}
    ec2.authorize_security_group_ingress(GroupId=theirs, IpPermissions=[pair])

    lines = users_of(CloudResource("security group", door, REGION, "prod", MINE))

    assert lines[0].startswith(f"network interface {identity} (of a colleague), made by")
    assert lines[1] == f"a rule of security group {theirs} (theirs) names it; remove the rule"


def test_a_denied_list_of_regions_is_replaced_by_the_known_regions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An organisation's policy denied the list, and the sweep ended."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    (tmp_path / "stacks" / "far").mkdir(parents=True)
    (tmp_path / "stacks" / "far" / "placement.json").write_text('{"account": "123456789012", "region": "ap-east-1"}')
    refuse(monkeypatch, "describe_regions", "UnauthorizedOperation")

    found = places()

    assert {REGION, "us-east-1", "ap-east-1"} <= set(found)
    assert found[-4:] == ["instance profile", "role", "bucket", "budget"]
    with pytest.raises(DeployError, match="ask for ec2:DescribeRegions"):
        find_in("regions that were enabled beside these")


def test_a_deleted_bucket_that_is_still_listed_is_not_an_orphan(monkeypatch: pytest.MonkeyPatch) -> None:
    where = {"LocationConstraint": REGION}
    client("s3").create_bucket(Bucket=f"llm-prod-{MINE}", CreateBucketConfiguration=where)
    refuse(monkeypatch, "get_bucket_location", "NoSuchBucket")

    assert find_resources(REGION, MINE) == []


def test_a_bucket_is_found_where_the_other_regions_are_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its region was looked up in us-east-1, which an organisation may deny: `down` always failed."""
    where = {"LocationConstraint": REGION}
    client("s3").create_bucket(Bucket=f"llm-prod-{MINE}", CreateBucketConfiguration=where)
    client("s3").create_bucket(Bucket="of-others", CreateBucketConfiguration=where)
    real = api.client

    def without_others(service: str, region: str) -> Any:
        if service == "s3" and region != REGION:
            raise DeniedError("is not allowed", where="AWS")
        return real(service, region)

    monkeypatch.setattr(api, "client", without_others)

    found = find_resources(REGION, MINE)

    assert ([(each.id, each.region) for each in found], found.unasked) == ([(f"llm-prod-{MINE}", REGION)], [])


def test_a_bucket_that_may_not_be_read_does_not_hide_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy on a colleague's bucket hid all buckets listed after it."""
    where: Any = {"LocationConstraint": REGION}
    for identity in sorted((MINE, OTHER)):
        client("s3").create_bucket(Bucket=f"llm-prod-{identity}", CreateBucketConfiguration=where)
    first, second = (f"llm-prod-{identity}" for identity in sorted((MINE, OTHER)))
    look = resource_kinds._bucket_tags

    def denied(name: str, region: str) -> list[dict[str, str]]:
        if name == first:
            raise DeniedError("is not allowed", where=name)
        return look(name, region)

    monkeypatch.setattr(resource_kinds, "_bucket_tags", denied)

    found = find_in("bucket")

    assert [resource.id for resource in found] == [second]
    assert [str(each) for each in found.unasked] == [f"bucket in us-east-1: {first}: is not allowed"]


def test_a_bucket_whose_tags_may_not_be_read_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    where = {"LocationConstraint": REGION}
    client("s3").create_bucket(Bucket=f"llm-prod-{MINE}", CreateBucketConfiguration=where)
    refuse(monkeypatch, "get_bucket_tagging", "AccessDenied")

    found = find_resources(REGION, MINE)

    assert found == [], "it may be one to keep"
    assert "is not allowed (no); ask for s3:GetBucketTagging" in str(found.unasked[0])


@pytest.mark.parametrize("ask", [stack_resources.find, stack_resources.kept], ids=["find", "kept"])
def test_a_login_to_another_account_is_refused(ask: Callable[[Cloud, Placement], list[str]]) -> None:
    """AWS answers such a login with empty lists."""
    identity = volume(MINE)
    mine = PLACEMENT.model_copy(update={"account": "123456789012"})
    assert (
        stack_resources.find(CLOUD, mine)
        == stack_resources.find(CLOUD, PLACEMENT)
        == [f"volume {identity} in {REGION}, 20 GiB (stack prod)"]
    )

    with pytest.raises(UsageError, match="belong to account 123456789012, but the stack is in 999999999999"):
        ask(CLOUD, PLACEMENT.model_copy(update={"account": "999999999999"}))


def test_stopped_hosts_are_started_and_those_of_others_left_alone() -> None:
    ec2 = client("ec2")
    image = an_image()
    mine, other = (
        ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=tagged("instance", identity))
        for identity in (MINE, OTHER)
    )
    ids = [made["Instances"][0]["InstanceId"] for made in (mine, other)]
    ec2.stop_instances(InstanceIds=ids)

    assert CLOUD.wake(PLACEMENT) == ids[:1]

    seen = [group["Instances"][0] for group in ec2.describe_instances(InstanceIds=ids)["Reservations"]]
    assert {each["InstanceId"]: each["State"]["Name"] for each in seen} == {ids[0]: "running", ids[1]: "stopped"}
    assert CLOUD.wake(PLACEMENT) == []


def test_global_resources_are_searched_apart_from_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search of the first region included them: a policy that denies this region hid roles and buckets."""
    named(MINE)
    assert [resource.kind for resource in find_in(REGION)] == ["schedule group", "log group"]
    refuse(monkeypatch, "describe_instances", "UnauthorizedOperation")

    found = find_in(REGION)
    assert [resource.kind for resource in found] == ["schedule group", "log group"]
    assert [each.kind for each in found.unasked] == ["spot request", "instance"]
    alone = ["instance profile", "role", "bucket", "budget"]
    assert places()[-4:] == alone
    assert REGION in places()
    assert [resource.kind for place in alone for resource in find_in(place)] == [
        "instance profile", "role", "role", "bucket",
    ]  # fmt: skip


def test_a_denied_region_does_not_block_the_removal_of_a_role(monkeypatch: pytest.MonkeyPatch) -> None:
    client("iam").create_role(RoleName=f"llm-prod-{MINE}-host", AssumeRolePolicyDocument="{}")
    found = find_in("role")
    refuse(monkeypatch, "describe_instances", "UnauthorizedOperation")

    remove_resources(found, sleep=lambda _s: None)

    assert find_in("role") == []


def test_a_bucket_is_emptied_in_few_calls_and_within_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call per object and no time limit: a large bucket delayed `down` for hours."""
    name, where = f"llm-prod-{MINE}", {"LocationConstraint": REGION}
    client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where)
    client("s3").put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    for key in "abcde":
        client("s3").put_object(Bucket=name, Key=key, Body=b"")
    client("s3").delete_object(Bucket=name, Key="e")  # adds a marker and keeps the version
    monkeypatch.setattr(resource_kinds, "OBJECTS_AT_ONCE", 2)
    now, resources = iter(range(0, 10000, 100)), find_resources(REGION, MINE)

    with pytest.raises(DeployError, match="resources still exist after 240 s"):
        remove_resources(resources, clock=lambda: float(next(now)), sleep=lambda _s: None)
    assert client("s3").list_object_versions(Bucket=name)["Versions"], "the time was over before all was gone"

    remove_resources(resources, sleep=lambda _s: None)
    assert find_resources(REGION, MINE) == []


def test_an_object_that_may_not_be_removed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 answers with success, and lists in its answer the objects that it did not remove."""
    named(MINE)
    refused = {"Errors": [{"Key": "models/a", "Code": "AccessDenied", "Message": "no"}]}
    real = api.call
    monkeypatch.setattr(
        resource_kinds, "call", lambda *asked, **more: refused if "delete_objects" in asked else real(*asked, **more)
    )
    now = iter(range(0, 10000, 100))

    with pytest.raises(DeployError, match="resources still exist") as caught:
        remove_resources(find_in("bucket"), clock=lambda: float(next(now)), sleep=lambda _s: None)
    assert f"llm-prod-{MINE}/models/a: AccessDenied: no" in caught.value.detail


def test_resources_of_others_are_not_ours() -> None:
    client("ec2").create_volume(AvailabilityZone=f"{REGION}a", Size=20)
    client("iam").create_role(RoleName="llm-something-else", AssumeRolePolicyDocument="{}")

    assert find_resources(REGION) == []
    assert ID.startswith("llm-deploy:")
