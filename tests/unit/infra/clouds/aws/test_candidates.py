"""Candidates on AWS: their order, what is kept, what is looked up again, which errors count as out of stock."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.errors import ConfigError, DeployError, UsageError
from infra.clouds.aws.api import account
from infra.clouds.aws.cloud import CLOUD
from infra.clouds.aws.placing import candidates
from infra.clouds.aws.placing.stock import SpotPrice
from infra.clouds.candidates import Candidate
from infra.clouds.resources.denied_calls import DeniedError
from infra.config import DeploymentConfig, parse_deployment
from infra.contract.stack_placement import GatewayPlacement, KnownPlacement, Progress
from tests.engine.aws_stacks import stack_value
from tests.unit.infra.clouds.pools import behind

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
A, B, C = (f"ap-northeast-2{zone}" for zone in "abc")
MINE, OTHER = "123456789012", "999999999999"


@pytest.fixture(autouse=True)
def _cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """A region of three zones; g6 in the last one only."""
    where = {"m6i.2xlarge": [A, B, C], "m6i.4xlarge": [A, B, C], "g5.xlarge": [A, C], "g6.xlarge": [C]}
    where["t3.medium"] = [A, B, C]
    prices = [SpotPrice(A, "g5.xlarge", 0.5), SpotPrice(C, "g5.xlarge", 0.4), SpotPrice(C, "g6.xlarge", 0.3)]
    monkeypatch.setattr(candidates, "zones_of", lambda _region: dict.fromkeys([A, B, C], ""))
    monkeypatch.setattr(candidates, "offered", lambda _region, types: {each: where.get(each, []) for each in types})
    monkeypatch.setattr(candidates, "spot_prices", lambda _region, _types: prices)
    monkeypatch.setattr(candidates, "resolve_image", lambda name, _region, _arch: f"ami-of-{name}")
    monkeypatch.setattr(account, "call", lambda *_asked: {"Account": MINE})


def config(machine: str = "type: m6i.2xlarge", zones: list[str] | None = None, **more: Any) -> DeploymentConfig:
    value = stack_value(machine) | more
    value["zones"] = zones if zones is not None else [A, B]
    return parse_deployment(value, "a test")


def places(settled: list[Candidate]) -> list[tuple[str, str]]:
    return [(each.placement.zone[-1], each.placement.machine_type) for each in settled]


def placement(**changes: Any) -> KnownPlacement:
    (first, *_rest) = candidates.candidates(config(), None, NOW)
    return KnownPlacement.of(first.placement).model_copy(update=changes)


def test_types_come_before_zones_in_the_order_of_the_file() -> None:
    asked = config("type: g5.xlarge, fallbacks: [g6.xlarge]", [C, A])

    assert places(candidates.candidates(asked, None, NOW)) == [
        ("c", "g5.xlarge"),
        ("a", "g5.xlarge"),
        ("c", "g6.xlarge"),
    ]


def test_spot_is_ranked_by_price_within_a_type() -> None:
    asked = config("type: g5.xlarge, fallbacks: [g6.xlarge], market: spot", [A, C])

    settled = candidates.candidates(asked, None, NOW)

    assert places(settled) == [("c", "g5.xlarge"), ("a", "g5.xlarge"), ("c", "g6.xlarge")]
    assert [each.usd_per_hour for each in settled] == [0.4, 0.5, 0.3]


def test_the_zone_with_the_cheapest_spot_machines_of_all_pools_comes_first() -> None:
    """The prices of pool main alone once decided, and the order of the file if main is on demand."""
    asked = config("type: m6i.2xlarge", [A, C], **behind(large={"type": "g5.xlarge", "market": "spot", "count": 2}))

    settled = candidates.candidates(asked, None, NOW)

    assert places(settled) == [("c", "m6i.2xlarge"), ("a", "m6i.2xlarge")]
    assert [each.spot_usd_per_hour for each in settled] == [{"large": 0.4}, {"large": 0.5}]


def test_without_zones_all_zones_of_the_region_are_tried() -> None:
    assert places(candidates.candidates(config(zones=[]), None, NOW)) == [(z, "m6i.2xlarge") for z in "abc"]


def test_a_network_spans_two_zones_even_if_one_is_tried() -> None:
    (only,) = candidates.candidates(config(zones=[B]), None, NOW)

    assert (only.placement.zone, only.placement.zones) == (B, (B, A))


def test_an_existing_stack_stays_in_its_zone() -> None:
    settled = candidates.candidates(config(), placement(zone=B), NOW)

    assert places(settled)[0] == ("b", "m6i.2xlarge")
    assert settled[0].placement.id == placement(zone=B, id=settled[0].placement.id).id


def test_a_new_type_stays_in_the_zone_of_the_disk() -> None:
    settled = candidates.candidates(config("type: m6i.4xlarge"), placement(zone=B), NOW)

    assert places(settled) == [("b", "m6i.4xlarge")]


EMPTY = Progress(holds_nothing=True)
STANDING = [
    pytest.param("type: m6i.2xlarge, fallbacks: [m6i.4xlarge]", [A, B], {}, "bb", id="fallbacks in its zone"),
    pytest.param("type: m6i.2xlarge", [A, C], {}, "ac", id="the file no longer names the zone"),
    pytest.param("type: m6i.2xlarge", [A, B], {"progress": EMPTY}, "ab", id="a first up: no stock"),
    pytest.param("type: m6i.2xlarge", [A, B], {"progress": Progress()}, "ba", id="a first up that was cut off"),
    pytest.param("type: m6i.2xlarge, market: spot", [A, B], {}, "ba", id="spot: other zones, too"),
]


@pytest.mark.parametrize(("machine", "zones", "changes", "tried"), STANDING)
def test_only_an_edit_moves_an_on_demand_host_from_its_data_volume(
    machine: str, zones: list[str], changes: dict[str, Any], tried: str
) -> None:
    """Without stock, an on-demand machine was made in another zone, and the stack's data volume was deleted."""
    settled = candidates.candidates(config(machine, zones), placement(zone=B, **changes), NOW)

    assert "".join(zone for zone, _type in places(settled)) == tried


GATEWAY: dict[str, Any] = {"gateway": {"machine": {}}}


def test_the_zone_offers_the_gateway_s_type_too(monkeypatch: pytest.MonkeyPatch) -> None:
    where = {"g5.xlarge": [A, B, C], "g6.xlarge": [C], "t3.medium": [B, C]}
    monkeypatch.setattr(candidates, "offered", lambda _region, types: {each: where[each] for each in types})

    settled = candidates.candidates(config("type: g5.xlarge, fallbacks: [g6.xlarge]", [A, B, C], **GATEWAY), None, NOW)

    assert places(settled) == [("b", "g5.xlarge"), ("c", "g5.xlarge"), ("c", "g6.xlarge")]
    made_of = settled[0].placement.gateway
    assert made_of is not None
    assert (made_of.machine_type, made_of.image) == ("t3.medium", settled[0].placement.image)


@pytest.mark.parametrize("market", ["on_demand", "spot"])
@pytest.mark.parametrize(
    ("offers", "line"),
    [
        pytest.param([A, C], f"t3.medium is not offered in {B}, where the stack is; it is offered in {A}, {C}; write",
                     id="elsewhere"),
        pytest.param([], f"t3.medium is not offered in {B}, where the stack is; write another type", id="nowhere"),
    ],
)  # fmt: skip
def test_a_gateway_never_moves_a_stack(
    monkeypatch: pytest.MonkeyPatch, market: str, offers: list[str], line: str
) -> None:
    """A type that the zone does not offer is an error, unless the stack has a gateway of that type already."""
    stands = placement(zone=B)
    where = {"m6i.2xlarge": [A, B, C], "t3.medium": offers}
    monkeypatch.setattr(candidates, "offered", lambda _region, types: {each: where[each] for each in types})
    asked = config(f"type: m6i.2xlarge, market: {market}", [A, B], **GATEWAY)

    with pytest.raises(ConfigError) as refused:
        candidates.candidates(asked, stands, NOW)

    assert str(refused.value).startswith(f"gateway.machine.type: {line}")
    has_one = stands.model_copy(update={"gateway": GatewayPlacement(machine_type="t3.medium", image="ami-1")})
    assert places(candidates.candidates(asked, has_one, NOW))[0] == ("b", "m6i.2xlarge")


def test_no_zone_with_both_types_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    where = {"m6i.2xlarge": [A, B], "t3.medium": [C]}
    monkeypatch.setattr(candidates, "offered", lambda _region, types: {each: where[each] for each in types})

    with pytest.raises(ConfigError, match=rf"gateway.machine.type: t3.medium is not offered in {A}, {B}; it is"):
        candidates.candidates(config(**GATEWAY), None, NOW)


def test_a_gateway_beside_gpus_has_an_image_without_drivers() -> None:
    """The image with drivers does not fit its root disk. A newer image does not replace the machine."""
    asked = config("type: g5.xlarge, image: deep-learning", storage={"root_gib": 100}, **GATEWAY)
    (first, *_rest) = candidates.candidates(asked, None, NOW)
    made_of = first.placement.gateway
    assert made_of is not None
    assert (first.placement.image, made_of.image) == ("ami-of-deep-learning", "ami-of-ubuntu-24.04")

    older = GatewayPlacement(machine_type="t3.medium", image="ami-of-last-month")
    kept = KnownPlacement.of(first.placement.model_copy(update={"gateway": older}))
    (again, *_rest) = candidates.candidates(asked, kept, NOW)
    assert again.placement.gateway == older


def denied(*_asked: Any, **_named: Any) -> Any:
    """Refuse as a policy of an organisation does."""
    raise DeniedError("is not allowed", where="AWS")


IMPAIRED = {A: "", B: "impaired", C: ""}
CHANGED = [
    pytest.param("zones_of", lambda _region: IMPAIRED, id="its zone is impaired"),
    pytest.param("zones_of", lambda _region: {A: "", C: ""}, id="its zone is not listed"),
    pytest.param("zones_of", lambda _region: {C: "", B: "", A: ""}, id="zones in another order"),
    pytest.param("zones_of", denied, id="zones may not be listed"),
    pytest.param(
        "offered", lambda _region, types: {each: [A, C] for each in types}, id="its type is not offered there"
    ),
    pytest.param("offered", lambda _region, types: {each: [] for each in types}, id="its type is offered nowhere"),
    pytest.param("offered", denied, id="offers may not be listed"),
    pytest.param("spot_prices", denied, id="prices may not be listed"),
    pytest.param("resolve_image", denied, id="images may not be looked up"),
]


@pytest.mark.parametrize("market", ["on_demand", "spot"])
@pytest.mark.parametrize("named", [[], [A, B]], ids=["zones left out", "zones named"])
@pytest.mark.parametrize(("asked", "answer"), CHANGED)
def test_an_existing_stack_stays_whatever_the_cloud_answers(
    monkeypatch: pytest.MonkeyPatch, asked: str, answer: Any, named: list[str], market: str
) -> None:
    """An edit of `ssh_cidrs` while the zone was impaired made an empty host and data volume in another zone."""
    standing = placement(zone=B)
    monkeypatch.setattr(candidates, asked, answer)

    first, *more = candidates.candidates(config(f"type: m6i.2xlarge, market: {market}", named), standing, NOW)

    assert (first.placement.zone, first.placement.machine_type, first.placement.image) == (
        B,
        "m6i.2xlarge",
        standing.image,
    )
    assert set(first.placement.zones) >= set(standing.zones), "a subnet of the network would be removed"
    assert market == "spot" or not more


@pytest.mark.parametrize("keep", [[], ["data_volume"]])
def test_only_other_zones_in_the_file_move_an_existing_stack(keep: list[str]) -> None:
    asked = config(zones=[A, C], storage={"keep_on_down": keep})
    if keep:
        reported = rf"zones: {A}, {C}: the data volume is in {B}, and storage.keep_on_down keeps it; add {B}; or remove"
        with pytest.raises(ConfigError, match=reported):
            candidates.candidates(asked, placement(zone=B), NOW)
    else:
        (first, *_rest) = candidates.candidates(asked, placement(zone=B), NOW)
        assert CLOUD.replaced(asked, placement(zone=B), first.placement) == [
            "the hosts are replaced because of zones; their data volumes are also replaced with empty ones"
        ]


def test_a_first_up_does_not_try_an_impaired_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "zones_of", lambda _region: IMPAIRED)

    assert places(candidates.candidates(config(zones=[]), None, NOW)) == [(zone, "m6i.2xlarge") for zone in "ac"]
    assert places(candidates.candidates(config(zones=[B, C]), None, NOW)) == [("c", "m6i.2xlarge")]
    with pytest.raises(DeployError, match=rf"zones: {B} is impaired; name other zones, or try later"):
        candidates.candidates(config(zones=[B]), None, NOW)
    cut_off = placement(zone=B, progress=Progress())
    assert places(candidates.candidates(config(zones=[]), cut_off, NOW))[0][0] == "a", "it never stood"


def test_without_a_list_of_zones_the_file_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "zones_of", denied)

    assert places(candidates.candidates(config(), None, NOW)) == [("a", "m6i.2xlarge"), ("b", "m6i.2xlarge")]
    with pytest.raises(DeniedError):
        candidates.candidates(config(zones=[]), None, NOW)


NETWORK, FIRST, SECOND = "vpc-0123456789abcdef0", "subnet-0123456789abcdef0", "subnet-0123456789abcdef1"
SUBNETS = [{"VpcId": NETWORK, "SubnetId": each, "AvailabilityZone": B} for each in (SECOND, FIRST)]


@pytest.mark.parametrize(
    ("changes", "used"),
    [
        pytest.param(None, FIRST, id="the first in the file"),
        pytest.param({}, SECOND, id="an existing stack keeps its subnet"),
        pytest.param({"progress": Progress()}, FIRST, id="a stack without resources does not"),
        pytest.param({"subnets": {B: "subnet-0123456789abcdef2"}}, FIRST, id="a subnet that the file no longer names"),
    ],
)
def test_one_of_two_subnets_in_a_zone_is_used_by_a_fixed_rule(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any] | None, used: str
) -> None:
    """The last one in AWS's answer was used: another order would have moved the hosts."""
    monkeypatch.setattr(candidates, "call", lambda *_asked, **_named: {"Subnets": SUBNETS})
    asked = config(zones=[], network=stack_value(more="existing")["network"] | {"subnets": [FIRST, SECOND]})
    previous = None if changes is None else placement(**({"zone": B, "subnets": {B: SECOND}} | changes))

    (first, *_rest) = candidates.candidates(asked, previous, NOW)

    assert first.placement.subnets == {B: used}


def test_a_stack_keeps_its_subnets_when_they_may_not_be_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "call", denied)
    asked = config(zones=[], network=stack_value(more="existing")["network"])

    (first,) = candidates.candidates(asked, placement(zone=B, subnets={B: FIRST}), NOW)
    assert first.placement.subnets == {B: FIRST}
    with pytest.raises(DeniedError):
        candidates.candidates(asked, None, NOW)


def test_a_type_that_the_zone_of_the_data_volume_lacks_is_refused() -> None:
    reported = (
        r"machine.type: g6.xlarge: not offered in \S+b, where the data volume is; write zones: \[ap-northeast-2c\]"
    )
    with pytest.raises(ConfigError, match=reported):
        candidates.candidates(config("type: g6.xlarge", [B, C]), placement(zone=B), NOW)


def test_a_stack_does_not_move_to_another_region() -> None:
    """It used the image of the old region, and the resources in that region were forgotten."""
    with pytest.raises(ConfigError, match=r"region: the stack is in us-east-1, not in ap-northeast-2;"):
        candidates.candidates(config(), placement(region="us-east-1"), NOW)


def test_a_stack_belongs_to_the_account_of_its_first_login() -> None:
    """A placement of an earlier release has no account, and gets that of the login."""
    (first, *_rest) = candidates.candidates(config(), placement(account=None), NOW)

    assert first.placement.account == MINE


@pytest.mark.parametrize(
    ("settings", "changes", "error", "reported"),
    [
        ({}, {"account": OTHER}, UsageError, f"belong to account {MINE}, but the stack is in {OTHER}; log in to"),
        ({"account": OTHER}, {"account": None}, UsageError, f"belong to account {MINE}, but the stack is in {OTHER}"),
        ({"account": OTHER}, {}, ConfigError, f"account: the stack is in account {MINE}, not in {OTHER}"),
    ],
    ids=["of the placement", "of the file", "file against placement"],
)
def test_another_account_is_refused(
    settings: dict[str, Any], changes: dict[str, Any], error: type[Exception], reported: str
) -> None:
    with pytest.raises(error, match=reported):
        candidates.candidates(config(**settings), placement(**changes), NOW)


def test_a_zone_without_a_subnet_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was left out without a message."""
    network, subnet = "vpc-0123456789abcdef0", "subnet-0123456789abcdef0"
    seen = {"Subnets": [{"VpcId": network, "SubnetId": subnet, "AvailabilityZone": A}]}
    monkeypatch.setattr(candidates, "call", lambda *_asked, **_named: seen)
    value = stack_value(more="existing") | {"zones": [A, B]}

    with pytest.raises(
        ConfigError, match=rf"zones\[1\]: no subnet of network.subnets is in {B}; write one of their zones: {A}"
    ):
        candidates.candidates(parse_deployment(value, "a test"), None, NOW)


def test_a_kept_disk_is_not_left_behind() -> None:
    asked = config(storage={"keep_on_down": ["data_volume"]})

    assert places(candidates.candidates(asked, placement(zone=B), NOW)) == [("b", "m6i.2xlarge")]


def test_a_recorded_image_stays_until_the_file_names_another() -> None:
    recorded = placement(image="ami-0a24040000000000a")

    (same, *_) = candidates.candidates(config(), recorded, NOW)
    (other, *_) = candidates.candidates(config("type: m6i.2xlarge, image: ubuntu-22.04"), recorded, NOW)

    assert same.placement.image == "ami-0a24040000000000a"
    assert other.placement.image == "ami-of-ubuntu-22.04"


@pytest.mark.parametrize(("hours", "began"), [(7, NOW), (8, NOW + timedelta(hours=8))], ids=["alive", "ended"])
def test_a_lifetime_that_has_ended_begins_again(hours: int, began: datetime) -> None:
    (first, *_) = candidates.candidates(config(), placement(began_at=NOW), NOW + timedelta(hours=hours))

    assert first.placement.began_at == began


@pytest.mark.parametrize(("lacks_stock", "began"), [(True, NOW + timedelta(hours=7)), (False, NOW)])
def test_a_lifetime_begins_with_the_first_up_that_finds_machines(lacks_stock: bool, began: datetime) -> None:
    """The day before, without stock, counted: machines of the second day ended minutes after they were made."""
    noted = placement(began_at=NOW, progress=Progress(holds_nothing=lacks_stock))

    (first, *_) = candidates.candidates(config(), noted, NOW + timedelta(hours=7))

    assert (first.placement.id, first.placement.began_at) == (noted.id, began)


def test_an_unknown_zone_is_refused_with_the_known_zones() -> None:
    with pytest.raises(
        ConfigError, match=r"zones\[0\]: ap-northeast-2d is not a zone of ap-northeast-2; its zones are"
    ):
        candidates.candidates(config(zones=["ap-northeast-2d"]), None, NOW)


def test_a_type_that_the_zone_lacks_is_refused_with_its_zones() -> None:
    with pytest.raises(ConfigError, match=r"g6.xlarge: not offered in .*; g6.xlarge is offered in ap-northeast-2c"):
        candidates.candidates(config("type: g6.xlarge"), None, NOW)


ENDED = "waiting for EC2 Instance (i-0a) create: unexpected state '{}', wanted target 'running'{} last error: {}: no"
VOLUME = "InsufficientVolumeCapacity: There is not enough capacity to fulfill your EBS volume provision request"


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        *(
            (ENDED.format(state, ",", f"Server.{reason}"), f"Server.{reason}: no")
            for state, reason in [
                ("terminated", "InsufficientInstanceCapacity"),
                ("shutting-down", "InsufficientVolumeCapacity"),
                ("terminated", "SpotInstanceTermination"),
                ("stopped", "SpotInstanceShutdown"),
                ("terminated", "InternalError"),
            ]
        ),
        (
            ENDED.format("terminated", ".", "Server.InsufficientInstanceCapacity"),
            "Server.InsufficientInstanceCapacity: no",
        ),
        (ENDED.format("terminated", ",", "Client.InternalError"), None),
        (ENDED.format("terminated", ",", "Client.InvalidKMSKey.InvalidState"), None),
        (ENDED.format("terminated", ",", "Client.VolumeLimitExceeded"), None),
        (f"operation error EC2: CreateVolume, api error {VOLUME}", VOLUME),
        ("x: api error InsufficientHostCapacity: none", "InsufficientHostCapacity: none"),
        ("x: api error InsufficientReservedInstanceCapacity: none", "InsufficientReservedInstanceCapacity: none"),
        ("x: api error UnfulfillableCapacity: none", "UnfulfillableCapacity: none"),
        ("x: api error InsufficientInstanceCapacity: none\ny: api error VcpuLimitExceeded: ask for more", None),
        ("x: api error InsufficientAddressCapacity: none in the region", None),
        ("x: api error InsufficientInstanceCapacity: none left", "InsufficientInstanceCapacity: none left"),
        ("x: api error SpotMaxPriceTooLow: your price", "SpotMaxPriceTooLow: your price"),
        ("x: api error Unsupported: not in this zone", "Unsupported: not in this zone"),
        ("x: api error VolumeTypeNotAvailableInZone: gp3 is not", "VolumeTypeNotAvailableInZone: gp3 is not"),
        ("AWS StartInstances: InsufficientInstanceCapacity: none", "InsufficientInstanceCapacity: none"),
        ("x: api error VcpuLimitExceeded: ask for more", None),
        ("x: api error MaxSpotInstanceCountExceeded: ask for more", None),
        ("x: api error UnauthorizedOperation: no", None),
        ("something else", None),
    ],
)
def test_only_an_error_of_one_candidate_counts_as_out_of_stock(text: str, reported: str | None) -> None:
    assert candidates.out_of_stock(text) == reported


def test_a_pool_gets_its_own_type_image_and_price() -> None:
    """The image of a running pool stays; a pool beside it does not move or change the machines of main."""
    pool = {"type": "g5.xlarge", "fallbacks": ["g6.xlarge"], "market": "spot", "image": "deep-learning"}
    asked = config(zones=[A, B, C], storage={"root_gib": 100}, **behind(large=pool))

    settled = candidates.candidates(asked, None, NOW)

    of_pool = [(each.placement.zone[-1], each.placement.pools["large"].machine_type) for each in settled]
    assert of_pool == [("c", "g5.xlarge"), ("c", "g6.xlarge"), ("a", "g5.xlarge")]
    first = settled[0]
    assert (first.placement.image, first.placement.pools["large"].image) == (
        "ami-of-ubuntu-24.04",
        "ami-of-deep-learning",
    )
    assert (first.usd_per_hour, first.pools_usd_per_hour) == (None, {"large": 0.4})

    older = first.placement.pools["large"].model_copy(update={"image": "ami-of-last-month"})
    runs = KnownPlacement.of(settled[1].placement.model_copy(update={"pools": {"large": older}}))
    again = candidates.candidates(asked, runs, NOW)
    assert {each.placement.zone for each in again} == {C}, "main is on demand, so no pool leaves the zone"
    assert again[0].placement.pools["large"] == older


def test_a_stack_with_a_pool_on_demand_stays_in_its_zone() -> None:
    asked = config("type: m6i.2xlarge, market: spot", [A, B], **behind(large={"type": "m6i.4xlarge"}))
    stands = placement(zone=B)

    assert {each.placement.zone for each in candidates.candidates(asked, stands, NOW)} == {B}
    only_spot = config(
        "type: m6i.2xlarge, market: spot", [A, B], **behind(large={"type": "m6i.4xlarge", "market": "spot"})
    )
    assert {each.placement.zone for each in candidates.candidates(only_spot, stands, NOW)} == {A, B}


def test_a_replaced_image_of_a_pool_is_reported() -> None:
    asked = config(**behind(large={"type": "m6i.4xlarge"}))
    (first, *_rest) = candidates.candidates(asked, None, NOW)
    older = first.placement.pools["large"].model_copy(update={"image": "ami-of-last-month"})
    before = first.placement.model_copy(update={"pools": {"large": older}})

    assert CLOUD.replaced(asked, before, first.placement) == [
        "the hosts of pool large are replaced because of machine.image"
    ]
    assert CLOUD.replaced(asked, before.model_copy(update={"pools": {}}), first.placement) == [], "it is new"
