"""Candidates on GCP: their order, what is kept, what is looked up again, which errors count as out of stock."""

from datetime import UTC, datetime
from typing import Any

import pytest

from core.errors import ConfigError, DeployError
from infra.clouds.candidates import Candidate
from infra.clouds.gcp.placing.candidates import candidates, out_of_stock
from infra.clouds.resources.denied_calls import DeniedError
from infra.config import DeploymentConfig, parse_deployment
from infra.contract.stack_placement import KnownPlacement, Progress
from tests.doubles.gcp.client import Gcp
from tests.doubles.gcp.seed import PROJECT, UBUNTU_24, UBUNTU_24_NEWER
from tests.doubles.gcp.settings import Settings
from tests.engine.gcp_stacks import A, B, C, stack_value
from tests.unit.infra.clouds.gcp.made import make_disk, make_stack
from tests.unit.infra.clouds.pools import behind

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def config(machine: str = "type: e2-standard-8", zones: list[str] | None = None, **more: Any) -> DeploymentConfig:
    value = stack_value(machine) | more
    value["zones"] = zones if zones is not None else [A, B]
    return parse_deployment(value, "a test")


def places(settled: list[Candidate]) -> list[tuple[str, str]]:
    return [(each.placement.zone[-1], each.placement.machine_type) for each in settled]


@pytest.fixture
def placement(gcp: Gcp) -> KnownPlacement:  # noqa: ARG001  # the cloud that answers
    """The placement of an existing stack in zone b."""
    (first, *_rest) = candidates(config(), None, NOW)
    return KnownPlacement.of(first.placement).model_copy(update={"zone": B})


@pytest.mark.usefixtures("store")
def test_types_come_before_zones_in_the_order_of_the_file() -> None:
    asked = config('type: "n1-standard-4+nvidia-tesla-t4", fallbacks: [g2-standard-4]', [C, A, B])

    assert places(candidates(asked, None, NOW)) == [
        ("c", "n1-standard-4+nvidia-tesla-t4"),
        ("b", "n1-standard-4+nvidia-tesla-t4"),
        ("a", "g2-standard-4"),
        ("b", "g2-standard-4"),
    ]


@pytest.mark.usefixtures("store")
def test_without_zones_all_zones_of_the_region_are_tried() -> None:
    (first, *rest) = candidates(config(zones=[]), None, NOW)

    assert places([first, *rest]) == [(zone, "e2-standard-8") for zone in "abc"]
    assert (first.placement.project, first.placement.zones) == (PROJECT, (A, B, C))
    assert first.placement.image == f"projects/ubuntu-os-cloud/global/images/{UBUNTU_24}"


def test_an_existing_stack_keeps_its_zone_id_and_image(gcp: Gcp, placement: KnownPlacement) -> None:
    gcp.store.settings = Settings(newest={"ubuntu-2404-lts-amd64": UBUNTU_24_NEWER})

    settled = candidates(config("type: e2-standard-16"), placement, NOW)

    assert places(settled) == [("b", "e2-standard-16")]
    assert (settled[0].placement.id, settled[0].placement.image) == (placement.id, placement.image)
    (new, *_rest) = candidates(config(), None, NOW)
    assert new.placement.image.endswith(UBUNTU_24_NEWER)


@pytest.mark.usefixtures("store")
def test_the_zone_offers_the_gateway_s_type_too() -> None:
    asked = config("type: e2-standard-8", [], region="us-central1", gateway={"machine": {"type": "c3-standard-4"}})

    (first, *rest) = candidates(asked, None, NOW)

    assert [each.placement.zone for each in (first, *rest)] == ["us-central1-a", "us-central1-b"]
    made_of = first.placement.gateway
    assert made_of is not None
    assert (made_of.machine_type, made_of.image) == ("c3-standard-4", first.placement.image)


LISTS = r"/zones$", r"/aggregated/machineTypes", r"/global/images/"
CHANGED = [
    pytest.param(Settings(zones_down=[B]), id="its zone is down"),
    pytest.param(Settings(unlisted=[B]), id="its zone and its types are not listed"),
    *(pytest.param(Settings(denied=[path]), id=f"{path} denied") for path in LISTS),
]


@pytest.mark.parametrize("market", ["on_demand", "spot"])
@pytest.mark.parametrize("named", [[], [A, B]], ids=["zones left out", "zones named"])
@pytest.mark.parametrize("settings", CHANGED)
def test_an_existing_stack_stays_whatever_the_cloud_answers(
    gcp: Gcp, placement: KnownPlacement, settings: Settings, named: list[str], market: str
) -> None:
    """An edit of `ssh_cidrs` while the zone was DOWN made an empty host and data disk in another zone."""
    gcp.store.settings = settings

    first, *more = candidates(config(f"type: e2-standard-8, market: {market}", named), placement, NOW)

    assert (first.placement.zone, first.placement.machine_type, first.placement.image) == (
        B,
        "e2-standard-8",
        placement.image,
    )
    assert market == "spot" or not more


def test_a_stack_keeps_its_subnet_when_it_may_not_be_looked_up(gcp: Gcp, placement: KnownPlacement) -> None:
    network = stack_value()["network"] | {"id": "shared", "subnets": ["mine"]}
    gcp.store.settings = Settings(denied=["/subnetworks/"], zones_down=[B])

    (first,) = candidates(config(zones=[], network=network), placement.model_copy(update={"subnets": {B: "mine"}}), NOW)

    assert first.placement.subnets[B] == "mine"
    with pytest.raises(DeniedError):
        candidates(config(zones=[], network=network), None, NOW)


def test_a_blank_disk_of_a_stack_without_hosts_may_be_larger_than_required(gcp: Gcp, placement: KnownPlacement) -> None:
    make_disk(gcp, placement.id, 50)

    assert candidates(config(storage={"data_gib": 20}), placement.model_copy(update={"progress": Progress()}), NOW)


def test_the_disk_of_a_host_that_a_failed_up_made_cannot_shrink(gcp: Gcp, placement: KnownPlacement) -> None:
    """The plugin replaced it with an empty disk, though the host had booted with the first."""
    make_stack(gcp, placement.id)

    with pytest.raises(ConfigError, match=r"storage.data_gib: 19 GiB is less than the 20 of llm-prod-\w+-1-data"):
        candidates(config(storage={"data_gib": 19}), placement.model_copy(update={"progress": Progress()}), NOW)


@pytest.mark.usefixtures("store")
def test_only_other_zones_in_the_file_move_an_existing_stack(placement: KnownPlacement) -> None:
    (first, *_rest) = candidates(config(zones=[A]), placement, NOW)

    assert first.placement.zone == A


def test_a_first_up_does_not_try_a_zone_that_is_down(gcp: Gcp) -> None:
    gcp.store.settings = Settings(zones_down=[A])

    assert [zone for zone, _type in places(candidates(config(), None, NOW))] == ["b"]
    with pytest.raises(DeployError, match=f"zones: {A} is DOWN; name other zones, or try later"):
        candidates(config(zones=[A]), None, NOW)


def test_a_kept_disk_is_not_left_behind(placement: KnownPlacement) -> None:
    asked = config(storage={"keep_on_down": ["data_volume"]})

    assert places(candidates(asked, placement, NOW)) == [("b", "e2-standard-8")]


def test_a_disk_cannot_shrink(gcp: Gcp, placement: KnownPlacement) -> None:
    make_disk(gcp, placement.id, 50)

    assert candidates(config(storage={"data_gib": 50}), placement, NOW)
    with pytest.raises(ConfigError, match=r"storage.data_gib: 49 GiB is less than the 50 of llm-prod-\w+-1-data"):
        candidates(config(storage={"data_gib": 49}), placement, NOW)


def test_a_stack_does_not_move_to_another_project(placement: KnownPlacement) -> None:
    with pytest.raises(ConfigError, match="project: the stack is in project my-project-123456, not in another-project"):
        candidates(config(project="another-project"), placement, NOW)


def test_a_stack_does_not_move_to_another_region(placement: KnownPlacement) -> None:
    with pytest.raises(ConfigError, match=r"region: the stack is in us-east1, not in .*; run `make down`"):
        candidates(config(), placement.model_copy(update={"region": "us-east1"}), NOW)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("machine", "more", "reported"),
    [
        pytest.param(
            "type: g2-standard-4", {"zones": [C]}, r"not offered in .*-c; g2-standard-4 is offered", id="type"
        ),
        pytest.param("type: e2-standard-8", {"zones": [f"{A[:-1]}d"]}, r"zones\[0\]: .*-d is not a zone", id="zone"),
        pytest.param(
            "type: e2-standard-8",
            {"network": {"id": "shared", "subnets": ["gone"]}},
            r"gone does not exist",
            id="subnet",
        ),
    ],
)
def test_an_impossible_value_is_refused_with_the_possible_ones(
    machine: str, more: dict[str, Any], reported: str
) -> None:
    value = stack_value(machine)
    network = value["network"] | more.pop("network", {})
    value |= more | {"network": network}

    with pytest.raises(ConfigError, match=reported):
        candidates(parse_deployment(value, "a test"), None, NOW)


ZONE_OUT = "The zone 'projects/p/zones/z' does not have enough resources available to fulfill the request.  Try later."
NO_TYPE = "Machine type with name 'x' does not exist in zone 'z'."


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        (f"Error waiting for instance to create: {ZONE_OUT}", f"Error waiting for instance to create: {ZONE_OUT}"),
        ("x\n  code: ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS\ny", "code: ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"),
        (
            "A n1-standard-4 VM instance is currently unavailable in the us-central1-b zone.",
            "A n1-standard-4 VM instance is currently unavailable in the us-central1-b zone.",
        ),
        (NO_TYPE, NO_TYPE),
        *(
            (text, text)
            for text in (
                "Disk type with name 'hyperdisk-balanced' does not exist in zone 'z'.",
                "Error waiting for disk to create: The zone 'z' does not have enough resources available to fulfill "
                "the request.  '(resource type:pd-ssd)'.",
                "code: REGION_RESOURCE_POOL_EXHAUSTED",
                "NULL:0/NULL:0 (state:STOCKOUT, sub-state:STOCKOUT_WITH_ALTERNATIVES, resource type:compute)",
                "reason: resource_availability",
                "Error loading disk type: googleapi: Error 404: The resource "
                "'projects/p/zones/z/diskTypes/hyperdisk-balanced' was not found, notFound",
                "googleapi: Error 404: The resource 'projects/p/zones/z/machineTypes/a3-highgpu-8g' was not found",
                "Error waiting for status: googleapi: Error 404: The resource 'x' was not found, notFound",
                "Error waiting for status: unexpected state 'STOPPING', wanted target 'RUNNING'. last error: nil",
            )
        ),
        ("QUOTA_EXCEEDED: Quota 'GPUS_ALL_REGIONS' exceeded.", None),
        ("code: ZONE_RESOURCE_POOL_EXHAUSTED\nQuota 'CPUS' exceeded.  Limit: 8.0 in region r.", None),
        ("Quota 'NVIDIA_L4_GPUS' exceeded.  Limit: 0.0 in region us-central1.", None),
        ("googleapi: Error 403: Required 'compute.instances.create' permission for 'x', forbidden", None),
        ("something else", None),
    ],
)
def test_only_an_error_of_one_candidate_counts_as_out_of_stock(text: str, reported: str | None) -> None:
    assert out_of_stock(text) == reported


@pytest.mark.usefixtures("store")
def test_a_pool_gets_its_own_type_and_image_beside_main() -> None:
    pool = {"type": "g2-standard-4", "image": "ubuntu-22.04"}

    (first, *rest) = candidates(config("type: e2-standard-8", [], **behind(large=pool)), None, NOW)

    assert {each.placement.zone[-1] for each in (first, *rest)} == {"a", "b"}, "where both types are offered"
    of_pool = first.placement.pools["large"]
    assert (of_pool.machine_type, of_pool.image_name) == ("g2-standard-4", "ubuntu-22.04")
    assert of_pool.image != first.placement.image


@pytest.mark.usefixtures("store")
def test_a_zone_without_the_type_of_a_pool_is_an_error() -> None:
    asked = config("type: e2-standard-8", [], **behind(large={"type": "a2-ultragpu-8g"}))

    with pytest.raises(ConfigError, match=r"pools.large.machine.type: a2-ultragpu-8g: not offered in"):
        candidates(asked, None, NOW)
