"""The AWS stacks of this checkout: two are previewed, created, updated without a change, and destroyed.

The two have every part of the other stacks, whose programs run in tests/unit/infra/clouds/aws/test_program.py.
"""

import json
from pathlib import Path

from infra.config import load_stack
from infra.config.reader import known_stacks
from tests.doubles.aws.running import RunningAws
from tests.engine.aws_stacks import REGION, everything, instances, not_allowed
from tests.engine.checkout import Checkout

STACKS = [each for each in known_stacks() if load_stack(each).cloud == "aws"]

TYPED = "aws-gpu-spot"
"""The stack that plain `pulumi` creates."""


def test_every_stack_passes_preflight(cloud_checkout: Checkout) -> None:
    done = cloud_checkout.preflight(*STACKS)

    assert done.returncode == 0, done.stderr


def test_preview_up_and_down_of_a_stack(cloud_checkout: Checkout, aws: RunningAws) -> None:
    """Preview creates nothing, down removes all, and the checkout stays clean."""
    stack = "aws-gpu"
    config = load_stack(stack)
    region, before = str(config.region), everything(aws, str(config.region))

    preview = cloud_checkout.run("preview", stack)
    assert preview.returncode == 0, preview.stderr
    assert f"+ would create {stack}-1 (Instance)" in preview.stderr
    assert everything(aws, region) == before

    up = cloud_checkout.run("up", stack)
    assert up.returncode == 0, up.stderr
    made = instances(aws, region)
    hosts = cloud_checkout.outputs(stack)["hosts"]
    assert {each["InstanceType"] for each in made} == {config.machine.type}
    assert {host["address"] for host in hosts} == {each["PublicIpAddress"] for each in made}
    assert all(host["host_keys"][0].startswith("ssh-ed25519 ") for host in hosts)
    assert all(Path(host["identity_file"]).exists() for host in hosts)
    assert _written_secrets(cloud_checkout, stack) == []

    down = cloud_checkout.run("down", stack)
    assert down.returncode == 0, down.stderr
    assert everything(aws, region) == before
    assert cloud_checkout.result(stack, "teardown.json")["ok"] is True
    assert not (cloud_checkout.state / "stacks" / stack).exists()
    assert cloud_checkout.changes() == ""
    assert not_allowed(aws.control.operations()) == [], "the policies in docs/aws.md lack it"


def test_plain_pulumi_creates_and_destroys_a_stack(cloud_checkout: Checkout, aws: RunningAws) -> None:
    """Preview and up choose the same placement; `make up` then changes nothing; `make down` confirms the destroy."""
    region, before = str(load_stack(TYPED).region), everything(aws, str(load_stack(TYPED).region))

    preview = cloud_checkout.pulumi("preview", "-s", TYPED)
    assert preview.returncode == 0, preview.stdout + preview.stderr
    assert f"if it has no capacity, `make up STACK={TYPED}` tries the next place" in preview.stdout
    assert everything(aws, region) == before
    shown = cloud_checkout.placement(TYPED)

    up = cloud_checkout.pulumi("up", "-ys", TYPED)
    assert up.returncode == 0, up.stdout + up.stderr
    (host,) = cloud_checkout.outputs(TYPED)["hosts"]
    (made,) = instances(aws, region)
    assert host["address"] == made["PublicIpAddress"]
    assert {key: shown[key] for key in ("id", "zone", "machine_type", "image")} == {
        key: cloud_checkout.outputs(TYPED)["placement"][key] for key in ("id", "zone", "machine_type", "image")
    }
    assert _written_secrets(cloud_checkout, TYPED) == []

    again = cloud_checkout.pulumi("up", "-ys", TYPED)
    assert "unchanged" in again.stdout, again.stdout + again.stderr
    assert " to create" not in again.stdout
    made_by_make = cloud_checkout.run("up", TYPED)
    assert cloud_checkout.result(TYPED, "up.json")["changes"] == {}, made_by_make.stderr

    destroy = cloud_checkout.pulumi("destroy", "-ys", TYPED)
    assert destroy.returncode == 0, destroy.stdout + destroy.stderr
    assert everything(aws, region) == before
    down = cloud_checkout.run("down", TYPED)
    assert down.returncode == 0, down.stderr
    assert cloud_checkout.result(TYPED, "teardown.json")["asked"] is True
    assert not (cloud_checkout.state / "stacks" / TYPED).exists()
    assert cloud_checkout.changes() == ""


def _written_secrets(checkout: Checkout, stack: str) -> list[Path]:
    """Return the files of state and engine that hold a host's private key in plain text."""
    files = [checkout.checkpoint(stack), *checkout.state.rglob("engine.*")]
    return [each for each in files if "OPENSSH PRIVATE KEY" in each.read_text(errors="replace")]


def test_plain_pulumi_and_the_outputs_command_use_a_state_in_a_bucket(
    cloud_checkout: Checkout, aws: RunningAws, existing: str
) -> None:
    aws.client("s3").create_bucket(Bucket="states", CreateBucketConfiguration={"LocationConstraint": REGION})
    where = f"s3://states?region={REGION}&endpoint={aws.url}&s3ForcePathStyle=true"
    chosen = {"PULUMI_BACKEND_URL": where, "PULUMI_CONFIG_PASSPHRASE": "their own words"}

    for words in (["preview", "-s", existing], ["up", "-ys", existing]):
        done = cloud_checkout.pulumi(*words, **chosen)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        assert cloud_checkout.changes() == "", words

    (cloud_checkout.state / "stacks" / existing / "outputs.json").unlink()
    read = cloud_checkout.shell(cloud_checkout.command("outputs", "--stack", existing), **chosen)
    assert json.loads(read.stdout)["hosts"][0]["address"] == "192.0.2.7", read.stderr
    assert not (cloud_checkout.state / "pulumi").exists()
