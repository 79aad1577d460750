"""The stacks on GCP of this checkout: one is previewed, made, made again without a change, destroyed to nothing.

It has everything that the others have, whose program runs in tests/unit/infra/clouds/gcp/test_program.py.
"""

from infra.config import load_stack
from infra.config.reader import known_stacks
from tests.doubles.gcp.running import RunningGcp
from tests.engine.checkout import Checkout
from tests.engine.gcp_stacks import everything

STACKS = [each for each in known_stacks() if load_stack(each).cloud == "gcp"]


def test_every_stack_of_ours_passes_preflight(gcp_checkout: Checkout) -> None:
    done = gcp_checkout.preflight(*STACKS)

    assert done.returncode == 0, done.stderr


def test_a_stack_of_ours_lives_and_ends(gcp_checkout: Checkout, gcp: RunningGcp) -> None:
    stack = "gcp-gpu"
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
