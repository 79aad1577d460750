"""Errors on AWS: no stock, quotas, permissions, logins, killed commands, other stacks in the account."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.doubles.aws.cloud import ACCOUNT
from tests.doubles.aws.running import OTHER_ACCOUNT, RunningAws
from tests.engine.aws_stacks import REGION, everything, instances, stack_text, volumes, with_gateway
from tests.engine.checkout import Checkout, Done, wait_until

SPOT = "type: g5.xlarge, market: spot, fallbacks: [g6.xlarge]"
ZONES = "ap-northeast-2a, ap-northeast-2c, ap-northeast-2d"


def test_spot_stack_is_placed_in_the_third_zone_if_two_have_no_stock(cloud_checkout: Checkout, aws: RunningAws) -> None:
    """The gateway's own machine, of which every zone has stock, goes along."""
    stack = cloud_checkout.stack("aws-spot", with_gateway(stack_text(SPOT, zones=ZONES)))
    out = [{"zone": f"ap-northeast-2{zone}", "market": "spot"} for zone in "ac"]
    aws.control.set(out_of_stock=out)

    typed = cloud_checkout.pulumi("up", "-ys", stack)
    assert typed.returncode == 1, typed.stdout
    assert f"no capacity for g5.xlarge in ap-northeast-2a; `make up STACK={stack}` tries" in typed.stderr, typed.stdout

    done = cloud_checkout.run("up", stack)

    assert done.returncode == 0, done.stderr
    by_type = {each["InstanceType"]: each for each in instances(aws)}
    machine, gateway = by_type["g5.xlarge"], by_type["t3.medium"]
    assert {each["Placement"]["AvailabilityZone"] for each in (machine, gateway)} == {"ap-northeast-2d"}
    assert machine["InstanceLifecycle"] == "spot"
    assert "InstanceLifecycle" not in gateway
    assert len(volumes(aws)) == 1
    assert len(aws.client("ec2", REGION).describe_network_interfaces()["NetworkInterfaces"]) == 2
    outcomes = [each["outcome"] for each in cloud_checkout.result(stack, "up.json")["places"]]
    assert outcomes == ["out of stock", "out of stock", "placed"]
    again = cloud_checkout.run("up", stack)
    assert cloud_checkout.result(stack, "up.json")["changes"] == {}, again.stderr
    by_hand = cloud_checkout.pulumi("preview", "--expect-no-changes", "-s", stack)
    assert by_hand.returncode == 0, "plain Pulumi would move the existing stack: " + by_hand.stdout

    disks = volumes(aws).keys()
    cloud_checkout.stack("aws-spot", with_gateway(stack_text("type: g5.2xlarge, market: spot", zones=ZONES)))
    larger = cloud_checkout.run("up", stack)
    assert larger.returncode == 0, larger.stderr
    changed = {each["InstanceType"]: each["InstanceId"] for each in instances(aws)}
    assert changed["t3.medium"] == gateway["InstanceId"]
    assert changed["g5.2xlarge"] != machine["InstanceId"], "a one-time spot machine cannot be stopped"
    assert volumes(aws).keys() == disks


def test_up_without_stock_prints_a_table_and_down_removes_all(cloud_checkout: Checkout, aws: RunningAws) -> None:
    before = everything(aws)
    wanted, keep = {"machine": "type: g5.xlarge", "zones": "ap-northeast-2a, ap-northeast-2c"}, "data_volume"
    keeps = stack_text(**wanted, more=f"storage: {{keep_on_down: [{keep}]}}")
    stack = cloud_checkout.stack("aws-none", keeps)
    aws.control.set(out_of_stock=[{}])

    done = cloud_checkout.run("up", stack)

    assert done.returncode == 1
    assert "no machines anywhere" in done.stderr
    assert "ap-northeast-2a  g5.xlarge  out of stock" in done.stderr
    assert "ap-northeast-2c  g5.xlarge  out of stock" in done.stderr
    assert instances(aws, ended=True) == []

    tries = aws.control.calls().count("RunInstances")
    aws.control.set(out_of_stock=[{}], hold_s={"RunInstances": 30})
    with cloud_checkout.started("up", stack) as up:
        wait_until(lambda: aws.control.calls().count("RunInstances") > tries, 120)
        up.kill_all()
    assert "placement" not in (_exported(cloud_checkout, stack) or {}), "a stack that never had a machine exports none"

    aws.control.set(out_of_stock=[{"zone": "ap-northeast-2c"}])
    again = cloud_checkout.run("up", stack)
    assert again.returncode == 0, "the blank disk of the last try held the stack in that zone: " + again.stderr
    assert [each["Placement"]["AvailabilityZone"] for each in instances(aws)] == ["ap-northeast-2a"]
    assert len(volumes(aws)) == 1

    cloud_checkout.stack("aws-none", stack_text(**wanted))
    assert cloud_checkout.run("down", stack).returncode == 0
    assert everything(aws) == before


def test_an_instance_that_aws_ends_for_lack_of_capacity_counts_as_out_of_stock(
    cloud_checkout: Checkout, aws: RunningAws
) -> None:
    """The engine keeps such an instance in the state; `up` once stopped there and tried no other place."""
    stack = cloud_checkout.stack("aws-ended", stack_text(zones="ap-northeast-2a"))
    aws.control.set(ends_at_start=[{"zone": "ap-northeast-2a"}])

    done = cloud_checkout.run("up", stack)

    assert done.returncode == 1
    assert "no machines anywhere" in done.stderr
    assert "ap-northeast-2a  m6i.2xlarge  out of stock  " in done.stderr, done.stderr
    assert "ec2/instance:Instance" not in cloud_checkout.checkpoint(stack).read_text()

    cloud_checkout.stack("aws-ended", stack_text(zones="ap-northeast-2a, ap-northeast-2b"))
    again = cloud_checkout.run("up", stack)
    assert again.returncode == 0, again.stderr
    outcomes = [each["outcome"] for each in cloud_checkout.result(stack, "up.json")["places"]]
    assert outcomes == ["out of stock", "placed"]
    assert [each["Placement"]["AvailabilityZone"] for each in instances(aws)] == ["ap-northeast-2b"]


def test_a_quota_error_ends_the_search(cloud_checkout: Checkout, aws: RunningAws) -> None:
    """Another zone has the same quota. The next command continues from the partial state."""
    before = everything(aws)
    stack = cloud_checkout.stack("aws-stop", stack_text())
    aws.control.set(refused={"RunInstances": "VcpuLimitExceeded"})

    done = cloud_checkout.run("up", stack)

    assert done.returncode == 1
    assert "VcpuLimitExceeded" in done.stderr
    assert "out of stock" not in done.stderr
    assert aws.control.calls().count("RunInstances") == 1
    assert "`make preflight` names the quota" in done.stderr
    assert cloud_checkout.run("down", stack).returncode == 0
    assert everything(aws) == before


def test_down_removes_all_after_a_killed_up(cloud_checkout: Checkout, aws: RunningAws) -> None:
    before = everything(aws)
    stack = cloud_checkout.stack("aws-cut", stack_text())
    aws.control.set(hold_s={"RunInstances": 30})  # the instance exists, but the engine never gets its id
    with cloud_checkout.started("up", stack) as up:
        wait_until(lambda: bool(instances(aws)), 120)
        up.kill_all()
    aws.control.set(refused={"GET /": "AccessDenied", "DescribeLogGroups": "AccessDeniedException"})

    done = cloud_checkout.run("down", stack)

    assert done.returncode == 1, "the log groups could not be listed"
    assert instances(aws) == []
    assert volumes(aws) == {}, "a denied list must not end down before the destroy"
    assert "ask for logs:DescribeLogGroups" in done.stderr
    assert "s3:ListAllMyBuckets" not in done.stderr.partition("error: ")[2], "the stack cannot have a bucket"

    aws.control.set()
    done = cloud_checkout.run("down", stack)
    assert done.returncode == 0, done.stderr
    assert everything(aws) == before


def test_down_lists_the_cost_of_kept_resources_and_up_uses_them_again(
    cloud_checkout: Checkout, aws: RunningAws
) -> None:
    before = everything(aws)
    keep = "storage: {data_gib: 100, bucket: {}, keep_on_down: [data_volume, bucket]}"
    budget = ", budget: {usd_per_month: 100, mail: team@example.com}"
    stack = cloud_checkout.stack("aws-keep", stack_text(more=keep, lifetime=budget))
    up = cloud_checkout.run("up", stack)
    assert up.returncode == 0, up.stderr
    disks = volumes(aws).keys()
    (bucket,) = [each["Name"] for each in aws.client("s3").list_buckets()["Buckets"]]
    with pytest.raises(
        ClientError, match="Forbidden"
    ):  # the bucket's policy requires TLS, which the simulated cloud lacks
        aws.client("s3", REGION).put_object(Bucket=bucket, Key="models/a", Body=b"a")

    down = cloud_checkout.run("down", stack)

    assert down.returncode == 0, down.stderr
    assert volumes(aws).keys() == disks
    assert instances(aws) == []
    disk, store = cloud_checkout.result(stack, "teardown.json")["kept"]
    assert "100 GiB" in disk
    assert "$9.12 a month" in disk
    assert bucket in store
    assert "a month for each GB in it" in store
    again = cloud_checkout.run("up", stack)
    assert again.returncode == 0
    assert "(preflight)" in again.stderr, "the stack has no host, so preflight runs"
    assert volumes(aws).keys() == disks

    cloud_checkout.stack("aws-keep", stack_text(more="storage: {data_gib: 100, bucket: {}}"))
    done = cloud_checkout.run("down", stack)
    assert done.returncode == 0, done.stderr
    assert everything(aws) == before


def test_preflight_lists_all_problems(cloud_checkout: Checkout, aws: RunningAws) -> None:
    stack = cloud_checkout.stack("aws-look", stack_text("type: g5.xlarge", zones="ap-northeast-2b"))
    aws.control.set(quotas={"L-DB2E81BA": 0.0, "L-0263D0A3": 0.0})

    done = cloud_checkout.run("up", stack)

    assert done.returncode == 1
    assert "3 things are wrong" in done.stderr
    assert "g5.xlarge is not offered in ap-northeast-2b" in done.stderr
    assert "L-DB2E81BA" in done.stderr
    assert "L-0263D0A3" in done.stderr
    assert "RunInstances" not in aws.control.calls()


@pytest.mark.parametrize(
    ("environ", "reported"),
    [
        pytest.param({"AWS_ACCESS_KEY_ID": ""}, "AWS credentials: none found", id="no credentials"),
        pytest.param({"AWS_PROFILE": "gone"}, "AWS credentials: ", id="unknown profile"),
    ],
)
def test_reports_a_wrong_login_in_one_line(cloud_checkout: Checkout, environ: dict[str, str], reported: str) -> None:
    stack = cloud_checkout.stack("aws-login", stack_text())

    done = cloud_checkout.shell(cloud_checkout.command("up", "--stack", stack), **environ)

    assert done.returncode == 2
    assert f"error: {reported}" in done.stderr
    assert "Traceback" not in done.stderr


def test_reports_expired_credentials_in_one_line(cloud_checkout: Checkout, aws: RunningAws) -> None:
    aws.control.set(refused={"GetCallerIdentity": "ExpiredToken"})

    done = cloud_checkout.run("up", cloud_checkout.stack("aws-expired", stack_text()))

    assert done.returncode == 2
    assert "error: AWS credentials: have expired; log in again" in done.stderr


def test_refuses_the_login_of_another_account(cloud_checkout: Checkout, aws: RunningAws) -> None:
    stack = cloud_checkout.stack("aws-account", stack_text(more='account: "999999999999"'))

    done = cloud_checkout.run("up", stack)

    assert done.returncode == 1
    assert "is not in account 999999999999" in done.stderr
    assert instances(aws, ended=True) == []


def test_down_leaves_another_stack_alone_and_orphans_removes_orphans(cloud_checkout: Checkout, aws: RunningAws) -> None:
    before = everything(aws)
    mine, other = cloud_checkout.stack("aws-mine", stack_text()), cloud_checkout.stack("aws-other", stack_text())
    cloud_checkout.run("up", other)
    alone = everything(aws)
    cloud_checkout.run("up", mine)
    for command in ("down", "up"):
        refused = cloud_checkout.shell(cloud_checkout.command(command, "--stack", mine), **aws.other_account())
        assert refused.returncode == 2, refused.stderr
        assert f"belong to account {OTHER_ACCOUNT}, but the stack is in {ACCOUNT}; log in to" in refused.stderr
    assert len(instances(aws)) == 2

    down = cloud_checkout.run("down", mine)

    assert down.returncode == 0, down.stderr
    assert sorted(map(_stable, everything(aws))) == sorted(map(_stable, alone))
    seen = _sweep(cloud_checkout)
    assert seen.returncode == 0, seen.stderr
    assert "known\tinstance " in seen.stdout
    assert "orphan\t" not in seen.stdout

    (cloud_checkout.state / "stacks" / other / "placement.json").unlink()
    refused = _sweep(cloud_checkout, "--delete", answer="no\n")
    assert "orphan\tnetwork" in refused.stdout
    assert refused.returncode == 2, "the answer was not yes"
    assert len(instances(aws)) == 1
    done = _sweep(cloud_checkout, "--delete", answer="yes\n")
    assert done.returncode == 0, done.stderr
    assert everything(aws) == before


def _exported(checkout: Checkout, stack: str) -> Any:
    """Return the outputs in the state of a stack, or None."""
    resources = json.loads(checkout.checkpoint(stack).read_text())["checkpoint"]["latest"]["resources"]
    return next(each for each in resources if each["type"] == "pulumi:pulumi:Stack").get("outputs")


def _sweep(checkout: Checkout, *arguments: str, answer: str = "") -> Done:
    """Run the command of `make orphans CLOUD=aws`, with an answer to its question."""
    argv = [
        str(checkout.folder / ".venv/bin/python"),
        "-m",
        "infra.lifecycle.orphans.command",
        "--cloud",
        "aws",
        *arguments,
    ]
    return checkout.shell(argv, answer=answer)


def _stable(resource: str) -> str:
    """Return the start of a line: the rest may change with every read."""
    return resource[:60]
