"""The program of cloud `aws` without the Pulumi engine: its resources, checked by the SDK's names and types."""

import json
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from catalog.aws_partitions import partition_of
from core.paths import CHECKOUT
from infra.clouds.aws.api.tags import DATA_VOLUME, ENDS_AT, TAGGED
from infra.config import load_stack
from infra.config.reader import known_stacks
from tests.doubles.aws.table import KINDS
from tests.doubles.provider.schema import resource_schema
from tests.unit.infra.clouds.aws.deployed import Deployed

INSTANCE = "aws:ec2/instance:Instance"


def test_a_host_is_guarded_encrypted_and_ends(deployed: Deployed) -> None:
    mocks = deployed()

    (host,) = mocks.of(INSTANCE)
    assert host["metadataOptions"]["httpTokens"] == "required"
    assert host["metadataOptions"]["httpPutResponseHopLimit"] == 1
    assert host["rootBlockDevice"]["encrypted"] is True
    assert host["instanceInitiatedShutdownBehavior"] == "terminate"
    assert host["tags"][ENDS_AT] == "2026-11-21T20:00:00Z"
    assert host["tags"][DATA_VOLUME] == "prod-1-data-id"
    assert "instanceMarketOptions" not in host
    (schedule,) = mocks.of("aws:scheduler/schedule:Schedule")
    assert schedule["scheduleExpression"] == "at(2026-11-21T20:00:00)"
    assert json.loads(schedule["target"]["input"]) == {"InstanceIds": ["prod-1-id"]}


@pytest.mark.parametrize("stack", [each for each in known_stacks() if load_stack(each).cloud == "aws"])
def test_the_program_makes_the_host_of_each_of_our_stacks(deployed: Deployed, stack: str) -> None:
    config = load_stack(stack)
    zone = f"{config.region}a"
    placement = {"region": config.region, "machine_type": config.machine.type, "zone": zone, "zones": (zone,)}

    (host,) = deployed(config=config, **placement).of(INSTANCE)

    assert host["instanceType"] == config.machine.type
    assert ("instanceMarketOptions" in host) == (config.machine.market == "spot")


def test_the_provider_works_only_in_the_account_of_the_placement(deployed: Deployed) -> None:
    """It checked the account only if the stack file named one; else it used that of the login."""
    (provider,) = deployed(account="123456789012").of("pulumi:providers:aws")

    assert json.loads(provider["allowedAccountIds"]) == ["123456789012"]
    assert provider["region"] == "ap-northeast-2"


def test_spot_requests_are_one_time(deployed: Deployed) -> None:
    machine = "type: g5.xlarge, market: spot, spot_max_usd_per_hour: 0.5"
    (host,) = deployed(machine, machine_type="g5.xlarge").of(INSTANCE)

    assert host["instanceMarketOptions"] == {
        "marketType": "spot",
        "spotOptions": {
            "spotInstanceType": "one-time",
            "instanceInterruptionBehavior": "terminate",
            "maxPrice": "0.5000",
        },
    }


def test_only_t_types_have_credits(deployed: Deployed) -> None:
    (plain,) = deployed().of(INSTANCE)
    (small,) = deployed("type: t3.xlarge", machine_type="t3.xlarge").of(INSTANCE)

    assert "creditSpecification" not in plain
    assert small["creditSpecification"] == {"cpuCredits": "standard"}


def test_the_firewall_opens_two_ports_and_no_engine_port(deployed: Deployed) -> None:
    rules = deployed().of("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")

    opened = {(each["fromPort"], each["toPort"], each.get("cidrIpv4") or each["cidrIpv6"]) for each in rules}
    assert opened == {(22, 22, "198.18.0.7/32"), (443, 443, "198.18.0.0/24"), (443, 443, "2001:2::/48")}


def test_a_host_may_read_its_prefix_and_no_more(deployed: Deployed) -> None:
    mocks = deployed(more="storage: {bucket: {prefix: models/}}")

    policies = mocks.of("aws:iam/rolePolicy:RolePolicy")
    (policy,) = [json.loads(each["policy"]) for each in policies if each["name"] == "host"]
    by_name = {each["Sid"]: each for each in policy["Statement"]}
    assert by_name["ReadModels"]["Resource"] == "prod-arn/models/*"
    assert by_name["ReadModels"]["Action"] == "s3:GetObject"
    assert by_name["ListModels"]["Condition"] == {"StringLike": {"s3:prefix": "models/*"}}
    assert not [action for each in policy["Statement"] for action in each["Action"] if action.endswith("*")]


REGION = {"region": "ap-northeast-2"}
NOTICES = {
    "a new bucket": ("market: spot", "{}", "prod-arn", {"url": "s3://prod-id/notices/llm-prod-0123abcd/", **REGION}),
    "an existing bucket": ("market: spot", "{name: acme}", "", None),
    "an existing bucket that the file opens": (
        "market: spot",
        "{name: acme, notices: true}",
        "arn:aws:s3:::acme",
        {"url": "s3://acme/notices/llm-prod-0123abcd/"},
    ),
    "a new bucket that the file closes": ("market: spot", "{notices: false}", "", None),
    "on demand": ("market: on_demand", "{}", "", None),
}
"""Market and bucket; the bucket that the role may add to, and the folder in the record of the host."""


@pytest.mark.parametrize(("market", "bucket", "arn", "folder"), NOTICES.values(), ids=NOTICES)
def test_a_spot_host_may_add_its_last_records(
    deployed: Deployed, market: str, bucket: str, arn: str, folder: dict[str, str] | None
) -> None:
    hosts: list[Any] = []
    mocks = deployed(f"type: m6i.2xlarge, {market}", more=f"storage: {{bucket: {bucket}}}", hosts=hosts)
    policies = mocks.of("aws:iam/rolePolicy:RolePolicy")
    (policy,) = [json.loads(each["policy"]) for each in policies if each["name"] == "host"]
    added = [(each["Action"], each["Resource"]) for each in policy["Statement"] if each["Sid"] == "AddNotices"]
    assert added == ([("s3:PutObject", f"{arn}/notices/llm-prod-0123abcd/*")] if arn else [])
    assert hosts[0].get("notice_folder") == folder


def test_a_host_may_use_session_manager_and_nothing_else(deployed: Deployed) -> None:
    policies = deployed().of("aws:iam/rolePolicy:RolePolicy")

    (policy,) = [json.loads(each["policy"]) for each in policies if each["name"] == "host"]
    assert {each["Sid"]: (each["Action"], each["Resource"]) for each in policy["Statement"]} == {
        "Sessions": (
            [
                "ssm:UpdateInstanceInformation",
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
            ],
            "*",
        ),
    }


def test_a_network_has_routes_out_for_both_ip_versions_and_an_endpoint_for_s3(deployed: Deployed) -> None:
    mocks = deployed()

    routes = mocks.of("aws:ec2/route:Route")
    ways = {(each.get("destinationCidrBlock"), each.get("destinationIpv6CidrBlock")): each for each in routes}
    assert ways.keys() == {("0.0.0.0/0", None), (None, "::/0")}
    assert {(each["routeTableId"], each["gatewayId"]) for each in routes} == {("prod-id", "prod-id")}
    (endpoint,) = mocks.of("aws:ec2/vpcEndpoint:VpcEndpoint")
    assert (endpoint["vpcEndpointType"], endpoint["serviceName"]) == ("Gateway", "com.amazonaws.ap-northeast-2.s3")
    assert endpoint["routeTableIds"] == ["prod-id"]
    ties = mocks.of("aws:ec2/routeTableAssociation:RouteTableAssociation")
    assert {each["subnetId"] for each in ties} == {"prod-a-id", "prod-b-id"}


def test_a_budget_warns_by_mail(deployed: Deployed) -> None:
    (budget,) = deployed(lifetime=", budget: {usd_per_month: 100, mail: team@example.com}").of(
        "aws:budgets/budget:Budget"
    )

    assert (budget["limitAmount"], budget["limitUnit"], budget["timeUnit"]) == ("100.00", "USD", "MONTHLY")
    warnings = [(each["notificationType"], each["threshold"]) for each in budget["notifications"]]
    assert warnings == [("ACTUAL", 80), ("FORECASTED", 100)]
    assert [each["subscriberEmailAddresses"] for each in budget["notifications"]] == [["team@example.com"]] * 2


def test_an_existing_network_is_used_as_it_is(deployed: Deployed) -> None:
    mocks = deployed(more="", zone="ap-northeast-2a", zones=("ap-northeast-2a",))
    assert len(mocks.of("aws:ec2/vpc:Vpc")) == 1

    mocks = deployed("type: m6i.2xlarge", subnets={"ap-northeast-2a": "subnet-0123456789abcdef0"}, more="existing")
    assert mocks.of("aws:ec2/vpc:Vpc") == []
    (interface,) = mocks.of("aws:ec2/networkInterface:NetworkInterface")
    assert interface["subnetId"] == "subnet-0123456789abcdef0"


def test_no_log_group_is_made(deployed: Deployed) -> None:
    """A log group was made, hosts had access to it, and nothing wrote to it."""
    assert deployed().of("aws:cloudwatch/logGroup:LogGroup") == []


KEY = "arn:aws:kms:ap-northeast-2:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
BOUNDARY = "arn:aws:iam::123456789012:policy/bounds/llm"


def test_disks_have_the_key_that_the_file_names(deployed: Deployed) -> None:
    mocks = deployed(more=f"storage: {{kms_key: '{KEY}'}}")

    (host,), (volume,) = mocks.of(INSTANCE), mocks.of("aws:ebs/volume:Volume")
    assert host["rootBlockDevice"]["kmsKeyId"] == volume["kmsKeyId"] == KEY
    plain = deployed()
    assert "kmsKeyId" not in plain.of("aws:ebs/volume:Volume")[0]
    assert "kmsKeyId" not in plain.of(INSTANCE)[0]["rootBlockDevice"]


def test_roles_have_the_boundary_and_the_path_of_the_file(deployed: Deployed) -> None:
    mocks = deployed(more=f"iam: {{permissions_boundary: '{BOUNDARY}', path: /llm/}}")

    roles = mocks.of("aws:iam/role:Role")
    assert [(each["permissionsBoundary"], each["path"]) for each in roles] == [(BOUNDARY, "/llm/")] * 2
    assert [each["path"] for each in mocks.of("aws:iam/instanceProfile:InstanceProfile")] == ["/llm/"]


def test_every_host_of_several_is_its_own(deployed: Deployed) -> None:
    mocks = deployed("type: m6i.2xlarge, count: 3")

    assert mocks.names(INSTANCE) == ["prod-1", "prod-2", "prod-3"]
    assert len(mocks.of("aws:ebs/volume:Volume")) == 3
    keys = [each["input"] for each in mocks.of("pulumi:index:Stash")]
    assert len({json.dumps(each) for each in keys}) == 3


def test_tags_reach_every_resource_that_accepts_them() -> None:
    """The table of tagged kinds agrees with the SDK, for every kind that the double knows."""
    taggable = {kind.token for kind in KINDS if "tags" in resource_schema(kind.token).input_names}

    assert taggable == TAGGED


def test_a_group_name_does_not_begin_like_an_id(deployed: Deployed) -> None:
    """A group was named after its stack, and AWS refuses names that begin with `sg-`. Existing groups keep theirs."""
    (group,) = deployed().of("aws:ec2/securityGroup:SecurityGroup")

    assert group["name"] == "llm-prod-0123abcd"


def test_arns_have_the_partition_of_the_region() -> None:
    """`arn:aws:` was fixed in the program."""
    found = [partition_of(each) for each in ("ap-northeast-2", "us-gov-west-1", "cn-north-1", "eusc-de-east-1")]
    assert found == ["aws", "aws-us-gov", "aws-cn", "aws-eusc"]
    fixed = [
        path.name for path in (CHECKOUT / "infra" / "clouds" / "aws").rglob("*.py") if "arn:aws:" in path.read_text()
    ]
    assert fixed == []


@pytest.mark.parametrize("keep", ["", ", keep_on_down: [data_volume]"])
@pytest.mark.parametrize(
    ("blank_at", "replaced"), [("", []), ("2026-11-21T12:00:00Z", ["size"])], ids=["may hold data", "blank"]
)
def test_only_a_blank_data_volume_is_replaced_for_another_size(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, keep: str, blank_at: str, replaced: list[str]
) -> None:
    """AWS cannot shrink a volume: after a failed first `up`, a smaller size needed a `down`."""
    options: list[Any] = []
    real = aws.ebs.Volume

    def noting(*arguments: Any, opts: pulumi.ResourceOptions, **more: Any) -> Any:
        options.append(opts)
        return real(*arguments, opts=opts, **more)

    monkeypatch.setattr(aws.ebs, "Volume", noting)

    deployed(more=f"storage: {{data_gib: 20{keep}}}", blank_at=blank_at)

    (found,) = options
    assert list(found.replace_on_changes or []) == replaced
    assert bool(found.protect) is bool(keep)


def test_a_data_volume_has_the_speed_that_its_model_needs(deployed: Deployed) -> None:
    (plain,) = deployed().of("aws:ebs/volume:Volume")
    (asked,) = deployed(more="storage: {data_mib_per_s: 800}").of("aws:ebs/volume:Volume")

    assert (plain["throughput"], plain["iops"]) == (125, 3000)
    assert (asked["throughput"], asked["iops"]) == (800, 3200)
