"""Every stack on AWS of this checkout: previewed, made, made again without a change, destroyed to nothing."""

import pytest

from infra.config import load_stack
from infra.config.reader import known_stacks
from tests.doubles.aws.running import RunningAws
from tests.engine.aws_stacks import everything
from tests.engine.checkout import Checkout


@pytest.mark.parametrize("stack", [each for each in known_stacks() if load_stack(each).cloud == "aws"])
def test_a_stack_of_ours_lives_and_ends(cloud_checkout: Checkout, aws: RunningAws, stack: str) -> None:
    preview = cloud_checkout.run("preview", stack)
    assert preview.returncode == 0, preview.stderr
    before = everything(aws, str(load_stack(stack).region))

    up = cloud_checkout.run("up", stack)
    assert up.returncode == 0, up.stderr
    again = cloud_checkout.run("up", stack)
    assert again.returncode == 0, again.stderr
    assert cloud_checkout.result(stack, "up.json")["changes"] == {}, again.stderr

    down = cloud_checkout.run("down", stack)
    assert down.returncode == 0, down.stderr
    assert everything(aws, str(load_stack(stack).region)) == before
