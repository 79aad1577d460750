"""Every stack on GCP of this checkout: previewed, made, made again without a change, destroyed to nothing."""

import pytest

from infra.config import load_stack
from infra.config.reader import known_stacks
from tests.doubles.gcp.running import RunningGcp
from tests.engine.checkout import Checkout
from tests.engine.gcp_stacks import everything


@pytest.mark.parametrize("stack", [each for each in known_stacks() if load_stack(each).cloud == "gcp"])
def test_a_stack_of_ours_lives_and_ends(gcp_checkout: Checkout, gcp: RunningGcp, stack: str) -> None:
    before = everything(gcp)
    preview = gcp_checkout.run("preview", stack)
    assert preview.returncode == 0, preview.stderr
    assert everything(gcp) == before

    up = gcp_checkout.run("up", stack)
    assert up.returncode == 0, up.stderr
    again = gcp_checkout.run("up", stack)
    assert again.returncode == 0, again.stderr
    assert gcp_checkout.result(stack, "up.json")["changes"] == {}, again.stderr

    down = gcp_checkout.run("down", stack)
    assert down.returncode == 0, down.stderr
    assert everything(gcp) == before
