"""Hosts on GCP that were stopped: `up` starts those that shall run."""

import pytest

from core.errors import DeployError
from infra.gcp.renting import out_of_stock, wake
from tests.doubles.gcp.client import Gcp
from tests.doubles.gcp.settings import Settings
from tests.unit.infra.gcp.made import LEASE, MINE, OTHER, ZONE, make_stack


@pytest.fixture
def stopped(gcp: Gcp) -> Gcp:
    """A cloud with a host that missed its start, and one of somebody else's."""
    for identity in (MINE, OTHER):
        gcp.store.things[make_stack(gcp, identity)]["status"] = "TERMINATED"
    return gcp


def statuses(gcp: Gcp) -> dict[str, str]:
    return {path.rpartition("/")[2]: str(body["status"]) for path, body in gcp.store.of("instances").items()}


def test_a_host_that_missed_its_start_is_started(stopped: Gcp) -> None:
    """With weekly hours the engine starts none, as it may be asleep: one without stock in the morning stayed off."""
    assert wake(LEASE) == [f"llm-prod-{MINE}-1"]
    assert statuses(stopped) == {f"llm-prod-{MINE}-1": "RUNNING", f"llm-prod-{OTHER}-1": "TERMINATED"}
    assert wake(LEASE) == []


def test_a_start_without_stock_is_known_as_such(stopped: Gcp) -> None:
    """So that `up` tries the fallbacks, and says where it looked."""
    stopped.store.settings = Settings(out_of_stock=[{"zone": ZONE}])

    with pytest.raises(DeployError) as refused:
        wake(LEASE)

    assert out_of_stock(str(refused.value))
