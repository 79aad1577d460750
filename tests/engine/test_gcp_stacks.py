"""The GCP stacks of this checkout: one is previewed, created, updated without a change, and destroyed.

It has every part of the other stacks, whose programs run in tests/unit/infra/clouds/gcp/test_program.py.
"""

from infra.config import load_stack
from infra.config.reader import known_stacks
from tests.doubles.gcp.running import RunningGcp
from tests.engine.checkout import Checkout
from tests.engine.gcp_stacks import everything

STACKS = [each for each in known_stacks() if load_stack(each).cloud == "gcp"]


def test_every_stack_passes_preflight(gcp_checkout: Checkout) -> None:
    done = gcp_checkout.preflight(*STACKS)

    assert done.returncode == 0, done.stderr


TYPED = "gcp-gpu"


def test_plain_pulumi_creates_and_destroys_a_stack(gcp_checkout: Checkout, gcp: RunningGcp) -> None:
    """A newcomer's first commands; `make up` and `make down` then continue from their state."""
    before = everything(gcp)
    preview = gcp_checkout.pulumi("preview", "-s", TYPED)
    assert preview.returncode == 0, preview.stdout + preview.stderr
    assert everything(gcp) == before
    shown = gcp_checkout.placement(TYPED)

    up = gcp_checkout.pulumi("up", "-ys", TYPED)
    assert up.returncode == 0, up.stdout + up.stderr
    made = gcp_checkout.outputs(TYPED)["placement"]
    assert all(made[key] == shown[key] for key in ("id", "zone", "machine_type", "image"))
    again = gcp_checkout.run("up", TYPED)
    assert gcp_checkout.result(TYPED, "up.json")["changes"] == {}, again.stderr

    destroy = gcp_checkout.pulumi("destroy", "-ys", TYPED)
    assert destroy.returncode == 0, destroy.stdout + destroy.stderr
    assert everything(gcp) == before
    down = gcp_checkout.run("down", TYPED)
    assert down.returncode == 0, down.stderr
    assert not (gcp_checkout.state / "stacks" / TYPED).exists()
