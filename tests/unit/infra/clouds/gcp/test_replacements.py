"""Edits that would replace hosts or disks of an existing stack on GCP: refused, left out, or reported first."""

import copy
from datetime import timedelta
from typing import Any

import pytest

from core.errors import ConfigError
from infra.clouds.gcp.placing.replacements import engine_instances, keeping_disks, keeps_end, replaced, runs
from infra.config import DeploymentConfig, parse_deployment
from infra.contract.stack_placement import GatewayPlacement, Placement, PoolPlacement, Progress
from tests.doubles.gcp.client import Gcp
from tests.engine.gcp_stacks import B, stack_value
from tests.unit.infra.clouds.gcp.made import MINE, PLACEMENT, ZONE, make_disk, make_stack
from tests.unit.infra.clouds.pools import behind

G2, A3 = (ZONE, "g2-standard-4"), (ZONE, "a3-highgpu-8g")
E2 = "type: e2-standard-4"
SPOT = f"{E2}, market: spot"
STAY, BLANK = "data disk, address and host key stay", "its data disk is also replaced with an empty one"


def config(machine: str = E2, **more: Any) -> DeploymentConfig:
    return parse_deployment(stack_value(machine) | more, "a test")


def test_a_machine_that_needs_other_disks_is_refused(gcp: Gcp) -> None:
    """For a change between families with Hyperdisk and others, the plugin replaces the data disk with an empty one."""
    make_disk(gcp, MINE)

    with pytest.raises(ConfigError) as refused:
        keeping_disks([A3], config(), PLACEMENT)

    assert str(refused.value) == (
        f"machine.type: a3-highgpu-8g needs hyperdisk-balanced, but llm-prod-{MINE}-1-data is pd-balanced and cannot"
        " change its type; write a machine type that supports pd-balanced, or run `make down` first"
    )


@pytest.mark.parametrize(
    ("machine", "placement", "places"),
    [
        pytest.param(E2, {}, [G2, (B, A3[1])], id="a fallback with other disks is left out"),
        pytest.param(SPOT, {}, [A3, G2, (B, A3[1])], id="a spot machine may leave its disk"),
        pytest.param(E2, {"progress": Progress()}, [A3, G2, (B, A3[1])], id="disks of a failed up"),
    ],
)
def test_candidates_that_accept_the_disks_are_kept(
    gcp: Gcp, machine: str, placement: dict[str, Any], places: list[Any]
) -> None:
    make_disk(gcp, MINE)

    assert keeping_disks([A3, G2, (B, A3[1])], config(machine), PLACEMENT.model_copy(update=placement)) == places


@pytest.mark.parametrize(
    ("machine", "more", "first", "announced"),
    [
        pytest.param(E2, {}, {}, None, id="nothing"),
        pytest.param("type: e2-standard-8", {}, {"machine_type": "e2-standard-8"}, None, id="within a family"),
        pytest.param(E2, {"lifetime": {"ttl_hours": 9}}, {}, f"another end of life; {STAY}", id="ttl"),
        pytest.param(
            "type: n2-standard-4", {}, {"machine_type": "n2-standard-4"}, f"machine.type; {STAY}", id="another family"
        ),
        pytest.param(SPOT, {}, {}, f"machine.market; {STAY}", id="market"),
        pytest.param(E2, {"storage": {"root_gib": 80}}, {}, f"storage.root_gib; {STAY}", id="root"),
        pytest.param(E2, {}, {"image": "another"}, f"machine.image; {STAY}", id="image"),
        pytest.param(E2, {}, {"zone": B}, f"zones; {BLANK}", id="zone"),
        pytest.param(
            SPOT, {}, {"machine_type": "a3-highgpu-8g"}, f"machine.type, machine.market; {BLANK}", id="other disks"
        ),
    ],
)  # fmt: skip
def test_a_replacement_of_hosts_is_reported(
    gcp: Gcp, machine: str, more: dict[str, Any], first: dict[str, Any], announced: str | None
) -> None:
    ends_at = PLACEMENT.ends_at(8).isoformat()
    gcp.store.resources[make_stack(gcp, MINE)]["scheduling"] = {"terminationTime": ends_at}

    seen = replaced(config(machine, **more), PLACEMENT, PLACEMENT.model_copy(update=first))

    assert seen == ([f"llm-prod-{MINE}-1 in {ZONE} is replaced because of {announced}"] if announced else [])


@pytest.mark.parametrize(
    ("announced", "keeps"),
    [
        ("2026-11-21T20:00:00Z", True),
        ("2026-11-21T12:00:00.000-08:00", True),  # the same time in GCP's own notation
        ("2026-11-21T20:00:00.000-08:00", False),
        ("", False),
    ],
)
def test_an_end_of_life_is_the_same_in_every_notation(gcp: Gcp, announced: str, keeps: bool) -> None:
    """The plugin compares text: with GCP's notation of the end, every `up` replaced the host."""
    gcp.store.resources[make_stack(gcp, MINE)]["scheduling"] = {"terminationTime": announced}

    assert keeps_end(config(), PLACEMENT, PLACEMENT) is keeps
    assert (replaced(config(), PLACEMENT, PLACEMENT) == []) is keeps


def test_a_stack_without_hosts_keeps_no_end(gcp: Gcp) -> None:
    make_disk(gcp, MINE)

    assert not keeps_end(config(), PLACEMENT, PLACEMENT)


GATEWAY = GatewayPlacement(machine_type="e2-standard-2", image=PLACEMENT.image)
BEHIND = PLACEMENT.model_copy(update={"gateway": GATEWAY})
KEPT = "address and host key stay"


def make_gateway(gcp: Gcp) -> str:
    """Make the gateway's own machine of a stack, beside its other host; return its name."""
    path = make_stack(gcp, MINE)
    gcp.store.resources[path]["scheduling"] = {"terminationTime": PLACEMENT.ends_at(8).isoformat()}
    own = copy.deepcopy(gcp.store.resources[path])
    own["disks"] = [{"boot": True, "autoDelete": True, "diskSizeGb": 30}]
    own["name"] = f"llm-prod-{MINE}-gateway"
    gcp.store.resources[path.replace("-1", "-gateway")] = own
    return str(own["name"])


@pytest.mark.parametrize(
    ("machine", "more", "gateway", "announced"),
    [
        pytest.param(E2, {}, {}, [], id="nothing"),
        pytest.param(SPOT, {}, {}, [f"llm-prod-{MINE}-1: machine.market; {STAY}"], id="market of the engines"),
        pytest.param(
            E2, {"storage": {"root_gib": 80}}, {}, [f"llm-prod-{MINE}-1: storage.root_gib; {STAY}"], id="root"
        ),
        pytest.param(E2, {}, {"machine_type": "e2-standard-4"}, [], id="within a family"),
        pytest.param(
            E2, {}, {"machine_type": "n2-standard-4"}, [f"llm-prod-{MINE}-gateway: gateway.machine.type; {KEPT}"],
            id="another family",
        ),
        pytest.param(E2, {}, {"image": "other"}, [f"llm-prod-{MINE}-gateway: machine.image; {KEPT}"], id="image"),
        pytest.param(E2, {}, None, [], id="removed"),
        pytest.param(
            E2, {"lifetime": {"ttl_hours": 9}}, {},
            [f"llm-prod-{MINE}-1: another end of life; {STAY}",
             f"llm-prod-{MINE}-gateway: another end of life; {KEPT}"],
            id="ttl",
        ),
    ],
)  # fmt: skip
def test_a_replacement_of_the_gateway_is_reported_apart(
    gcp: Gcp, machine: str, more: dict[str, Any], gateway: dict[str, Any] | None, announced: list[str]
) -> None:
    make_gateway(gcp)
    after = None if gateway is None else GATEWAY.model_copy(update=gateway)
    first = BEHIND.model_copy(update={"gateway": after})

    seen = replaced(config(machine, **more), BEHIND, first)

    assert sorted(each.replace(f" in {ZONE} is replaced because of", ":") for each in seen) == announced


def test_a_gateway_alone_does_not_hold_a_spot_stack_in_its_zone(gcp: Gcp) -> None:
    make_gateway(gcp)
    assert runs(BEHIND)

    for path in [path for path in gcp.store.of("instances") if path.endswith("-1")]:
        gcp.store.resources[path]["status"] = "TERMINATED"

    assert not runs(BEHIND)


def test_a_new_lifetime_without_hosts_is_not_a_replacement(gcp: Gcp) -> None:
    make_disk(gcp, MINE)
    later: Placement = PLACEMENT.model_copy(update={"began_at": PLACEMENT.began_at + timedelta(days=9)})

    assert replaced(config(), PLACEMENT, later) == []


POOL = PoolPlacement(machine_type="e2-standard-8", image_name=PLACEMENT.image_name, image=PLACEMENT.image)
POOLED = BEHIND.model_copy(update={"pools": {"large": POOL}})


@pytest.mark.parametrize(
    ("more", "pool", "announced"),
    [
        pytest.param({}, {}, [], id="nothing"),
        pytest.param({"market": "spot"}, {}, [f"llm-prod-{MINE}-large-1: pools.large.machine.market"], id="market"),
        pytest.param({}, {"image": "other"}, [f"llm-prod-{MINE}-large-1: pools.large.machine.image"], id="image"),
        pytest.param({}, {"machine_type": "n2-standard-8"}, [f"llm-prod-{MINE}-large-1: pools.large.machine.type"],
                     id="another family"),
        pytest.param({}, None, [], id="removed"),
    ],
)  # fmt: skip
def test_a_replacement_in_a_pool_is_reported_for_its_hosts(
    gcp: Gcp, more: dict[str, Any], pool: dict[str, Any] | None, announced: list[str]
) -> None:
    make_gateway(gcp)
    path = next(path for path in gcp.store.of("instances") if path.endswith("-1"))
    own = copy.deepcopy(gcp.store.resources[path])
    own["name"] = f"llm-prod-{MINE}-large-1"
    gcp.store.resources[path.replace("-1", "-large-1")] = own
    after = {} if pool is None else {"large": POOL.model_copy(update=pool)}
    pools = behind() if pool is None else behind(large={"type": "e2-standard-8"} | more)

    seen = replaced(config(E2, **pools), POOLED, POOLED.model_copy(update={"pools": after}))

    assert [each.partition(";")[0].replace(f" in {ZONE} is replaced because of", ":") for each in seen] == announced
    assert {name for _zone, host in engine_instances(POOLED, "large") for name in [host.name]} == {own["name"]}
