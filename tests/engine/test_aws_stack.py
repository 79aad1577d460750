"""A stack's life on AWS, from preview to teardown: the real CLI, engine and program, the simulated cloud."""

import json
from pathlib import Path

from tests.doubles.aws.running import RunningAws
from tests.doubles.aws.seed import UBUNTU_24, UBUNTU_24_NEWER, UBUNTU_PARAMETER
from tests.engine.aws_stacks import REGION, everything, instances, stack_text, volumes
from tests.engine.checkout import Checkout


def test_a_life_without_surprises(cloud_checkout: Checkout, aws: RunningAws) -> None:
    """Preview makes nothing, up makes all, up again nothing, down leaves nothing."""
    before = everything(aws)
    stack = cloud_checkout.stack("aws-life", stack_text())

    preview = cloud_checkout.run("preview", stack)
    assert preview.returncode == 0, preview.stderr
    assert "+ would create aws-life-1 (Instance)" in preview.stderr
    assert everything(aws) == before

    up = cloud_checkout.run("up", stack)
    assert up.returncode == 0, up.stderr
    (machine,) = instances(aws)
    (host,) = cloud_checkout.outputs(stack)["hosts"]
    assert host["address"] == machine["PublicIpAddress"]
    assert host["user"] == "ubuntu"
    assert host["host_keys"][0].startswith("ssh-ed25519 ")
    assert Path(host["identity_file"]).exists()

    again = cloud_checkout.run("up", stack)
    assert again.returncode == 0, again.stderr
    assert cloud_checkout.result(stack, "up.json")["changes"] == {}, again.stderr
    assert cloud_checkout.changes() == ""

    down = cloud_checkout.run("down", stack)
    assert down.returncode == 0, down.stderr
    assert everything(aws) == before
    assert cloud_checkout.result(stack, "teardown.json")["ok"] is True
    assert not (cloud_checkout.state / "stacks" / stack).exists()


def test_another_type_keeps_disk_address_and_key_and_a_newer_image_changes_nothing(
    cloud_checkout: Checkout, aws: RunningAws
) -> None:
    stack = cloud_checkout.stack("aws-type", stack_text())
    cloud_checkout.run("up", stack)
    (before,), disks = instances(aws), volumes(aws).keys()
    (host,) = cloud_checkout.outputs(stack)["hosts"]
    newer = {UBUNTU_PARAMETER.format(release="24.04", arch="amd64", gp=3): UBUNTU_24_NEWER}
    aws.control.set_parameters(REGION, newer)

    cloud_checkout.stack("aws-type", stack_text("type: m6i.4xlarge"))
    done = cloud_checkout.run("up", stack)

    assert done.returncode == 0, done.stderr
    (after,) = instances(aws)
    assert (after["InstanceType"], after["ImageId"]) == ("m6i.4xlarge", UBUNTU_24)
    assert after["InstanceId"] == before["InstanceId"]
    assert volumes(aws).keys() == disks
    (changed,) = cloud_checkout.outputs(stack)["hosts"]
    assert (changed["address"], changed["host_keys"]) == (host["address"], host["host_keys"])
    assert cloud_checkout.run("down", stack).returncode == 0


def test_what_is_deleted_behind_our_back_is_made_anew_on_the_same_disk(
    cloud_checkout: Checkout, aws: RunningAws
) -> None:
    stack = cloud_checkout.stack("aws-gone", stack_text())
    cloud_checkout.run("up", stack)
    (before,), disks = instances(aws), volumes(aws).keys()
    aws.client("ec2", REGION).terminate_instances(InstanceIds=[before["InstanceId"]])

    done = cloud_checkout.run("up", stack)

    assert done.returncode == 0, done.stderr
    (after,) = instances(aws)
    assert after["InstanceId"] != before["InstanceId"]
    assert volumes(aws).keys() == disks
    assert cloud_checkout.run("down", stack).returncode == 0


def test_no_secret_stands_in_the_plain_state(cloud_checkout: Checkout) -> None:
    stack = cloud_checkout.stack("aws-secret", stack_text())
    cloud_checkout.run("up", stack)

    state = json.loads(cloud_checkout.checkpoint(stack).read_text())

    assert "OPENSSH PRIVATE KEY" not in json.dumps(state)
    written = [path.read_text(errors="replace") for path in cloud_checkout.state.rglob("engine.*")]
    assert not any("OPENSSH PRIVATE KEY" in text for text in written)
    assert cloud_checkout.run("down", stack).returncode == 0
