"""What changes of a stack on AWS, and what stays: the real CLI, engine and program, the simulated cloud."""

from datetime import timedelta

from tests.doubles.aws.running import RunningAws
from tests.doubles.aws.seed import UBUNTU_24, UBUNTU_24_NEWER, UBUNTU_PARAMETER
from tests.engine.aws_stacks import REGION, ends_at, instances, stack_text, untagged, volumes
from tests.engine.checkout import Checkout


def test_disk_address_and_key_outlive_a_change_of_type_and_the_loss_of_the_instance(
    cloud_checkout: Checkout, aws: RunningAws
) -> None:
    """A newer image of the same name changes nothing meanwhile."""
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
    assert "the data volume lies in ap-northeast-2a: name machine.fallbacks or try later" in done.stderr
    assert volumes(aws).keys() == disks, "a move to another zone is not asked for"
    aws.control.set()
    done = cloud_checkout.run("up", stack)

    assert done.returncode == 0, done.stderr
    (changed,) = instances(aws)
    assert (changed["InstanceType"], changed["ImageId"]) == ("m6i.4xlarge", UBUNTU_24)
    assert changed["State"]["Name"] == "running", "the attempt without stock has stopped it"
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
    assert cloud_checkout.run("down", stack).returncode == 0
