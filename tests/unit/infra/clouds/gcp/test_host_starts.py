"""Stopped hosts on GCP: `up` starts those that should run."""

import pytest

from core.errors import DeployError
from infra.clouds.gcp.host_starts import await_ends, wake
from infra.clouds.gcp.placing.candidates import out_of_stock
from infra.clouds.resources.kinds import END_S
from tests.doubles.gcp.client import Gcp
from tests.doubles.gcp.settings import Settings
from tests.unit.infra.clouds.gcp.made import MINE, OTHER, PLACEMENT, ZONE, make_stack


@pytest.fixture
def stopped(gcp: Gcp) -> Gcp:
    """A cloud with a host that missed its start, and another person's host."""
    for identity in (MINE, OTHER):
        gcp.store.resources[make_stack(gcp, identity)]["status"] = "TERMINATED"
    return gcp


def statuses(gcp: Gcp) -> dict[str, str]:
    return {path.rpartition("/")[2]: str(body["status"]) for path, body in gcp.store.of("instances").items()}


def test_a_host_that_missed_its_start_is_started(stopped: Gcp) -> None:
    """With weekly hours the engine does not start hosts: one without stock in the morning stayed off."""
    assert wake(PLACEMENT) == [f"llm-prod-{MINE}-1"]
    assert statuses(stopped) == {f"llm-prod-{MINE}-1": "RUNNING", f"llm-prod-{OTHER}-1": "TERMINATED"}
    assert wake(PLACEMENT) == []


def test_a_start_without_stock_is_reported_as_such(stopped: Gcp) -> None:
    """`up` then tries the fallbacks, and says where it looked."""
    stopped.store.settings = Settings(out_of_stock=[{"zone": ZONE}])
    for body in stopped.store.of("instances").values():
        body["labels"] |= {"llm-deploy-host": "prod-1"}

    with pytest.raises(DeployError) as refused:
        wake(PLACEMENT)

    assert out_of_stock(str(refused.value))
    assert refused.value.resources == ("prod-1",), "`up` tries no fallback for the gateway's own machine"


def test_a_host_that_was_suspended_is_resumed(stopped: Gcp) -> None:
    """GCP cannot start a suspended host: it stayed suspended, and `up` succeeded."""
    for body in stopped.store.of("instances").values():
        body["status"] = "SUSPENDED"

    assert wake(PLACEMENT) == [f"llm-prod-{MINE}-1"]
    assert statuses(stopped)[f"llm-prod-{MINE}-1"] == "RUNNING"


@pytest.mark.parametrize("status", ["STOPPING", "SUSPENDING", "PENDING_STOP"])
def test_a_host_that_is_about_to_end_is_waited_for(gcp: Gcp, status: str) -> None:
    """The plugin took a host deleted or stopped in the console just before `up` for a running one."""
    path, now_s = make_stack(gcp, MINE), [0.0]
    gcp.store.resources[path]["status"] = status
    gcp.store.resources[make_stack(gcp, OTHER)]["status"] = "STOPPING"

    def sleep(seconds: float) -> None:
        now_s[0] += seconds * 50  # each look calls the simulated cloud
        if now_s[0] > END_S / 2:
            gcp.store.resources[path]["status"] = "TERMINATED"

    await_ends(PLACEMENT, clock=lambda: now_s[0], sleep=sleep)
    assert now_s[0] > END_S / 2


def test_a_host_that_does_not_end_is_named(gcp: Gcp) -> None:
    gcp.store.resources[make_stack(gcp, MINE)]["status"] = "STOPPING"
    now_s = [0.0]

    def sleep(seconds: float) -> None:
        now_s[0] += seconds * 50  # each look calls the simulated cloud

    with pytest.raises(DeployError, match=f"llm-prod-{MINE}-1 is STOPPING after {END_S:.0f} s"):
        await_ends(PLACEMENT, clock=lambda: now_s[0], sleep=sleep)
