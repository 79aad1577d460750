"""Hosts with local SSDs on GCP: changes that would stop one are left out or refused."""

import pytest

from core.errors import ConfigError
from infra.clouds.gcp.placing.local_ssd import without_stops
from tests.doubles.gcp.client import Gcp
from tests.unit.infra.clouds.gcp.made import MINE, PLACEMENT, ZONE, make_stack

ULTRA = PLACEMENT.model_copy(update={"machine_type": "a2-ultragpu-1g"})


def test_a_type_that_would_stop_the_host_is_not_a_fallback(gcp: Gcp) -> None:
    make_stack(gcp, MINE)
    places = [(ZONE, each) for each in ("a2-ultragpu-1g", "a2-ultragpu-2g", "a3-highgpu-8g")]

    assert [each for _zone, each in without_stops(places, ULTRA)] == ["a2-ultragpu-1g", "a3-highgpu-8g"]


def test_a_change_that_would_stop_the_host_is_refused(gcp: Gcp) -> None:
    """The plugin stops the host to change its type, which GCP refuses: `up` failed half-way."""
    make_stack(gcp, MINE)

    with pytest.raises(ConfigError, match=r"machine.type: a2-ultragpu-2g: the host is a2-ultragpu-1g with local"):
        without_stops([(ZONE, "a2-ultragpu-2g")], ULTRA)


@pytest.mark.usefixtures("gcp")
def test_a_stack_without_its_host_accepts_any_type() -> None:
    assert without_stops([(ZONE, "a2-ultragpu-2g")], ULTRA) == [(ZONE, "a2-ultragpu-2g")]


@pytest.mark.usefixtures("gcp")
def test_other_types_change_in_place() -> None:
    assert without_stops([(ZONE, "e2-standard-8")], PLACEMENT) == [(ZONE, "e2-standard-8")]
