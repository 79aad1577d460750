"""What `up` does around the engine on a cloud; doubles of cloud and engine record the calls."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from core.errors import ConfigError, DeployError
from core.paths import outputs_file
from infra.automation.backend import Backend
from infra.automation.engine_errors import EngineFailedError
from infra.automation.events import Report
from infra.clouds.candidates import Candidate, refuse_move
from infra.clouds.finding import Finding
from infra.clouds.resources.denied_calls import DeniedError
from infra.clouds.resources.kinds import CloudResource, Found, Unasked
from infra.config import DeploymentConfig, load_stack, parse_deployment
from infra.config.models.lifetime import WeeklySchedule
from infra.contract.stack_placement import (
    PLACEMENT_VARIABLE,
    GatewayPlacement,
    KnownPlacement,
    Placement,
    PoolPlacement,
    Progress,
    read_placement,
    write_placement,
)
from infra.lifecycle import up as up_module
from infra.lifecycle.orphans import recovery
from infra.lifecycle.orphans.recovery import recover
from infra.lifecycle.placement import login, previous
from infra.lifecycle.placement.previous import known_placement
from infra.lifecycle.preflight import checks as preflight
from infra.lifecycle.preview import preview as preview_module
from infra.lifecycle.preview.preview import preview
from tests.engine import aws_stacks
from tests.unit.infra.clouds.pools import behind

STACK = "one"


def placement(zone: str) -> KnownPlacement:
    return KnownPlacement(
        id="0123abcd",
        region="ap-northeast-2",
        began_at=datetime(2026, 1, 1, tzinfo=UTC),
        image_name="ubuntu",
        image="ami-1",
        zone=zone,
        machine_type="g5.xlarge",
        zones=("a", "b"),
        subnets={},
    )


@dataclass
class Engine:
    """A stack whose `up` finds stock only in some zones."""

    stock: set[str]
    asked: list[str] = field(default_factory=list)
    limits_s: list[float | None] = field(default_factory=list)
    interrupted: bool = False
    exported: KnownPlacement | None = None
    words: str = "no stock"
    error: DeployError | None = None
    """Raised in place of `words`."""

    written: str = "2026-11-21T12:00:00Z"
    handed: list[KnownPlacement] = field(default_factory=list)
    known: set[str] = field(default_factory=lambda: {"vpc-1"})
    made_elsewhere: set[str] = field(default_factory=set)
    """What another checkout has created since this process read the state."""

    backend: Backend = field(default_factory=lambda: Backend(ours=False, settings={}, shown="s3://states"))

    def known_ids(self) -> set[str]:
        return self.known

    def read_again(self) -> None:
        self.known = self.known | self.made_elsewhere

    def refresh(self) -> None:
        self.asked.append("refresh")

    def outputs(self) -> dict[str, Any]:
        return {"placement": self.exported.placement.model_dump(mode="json")} if self.exported else {}

    def has_machines(self) -> bool:
        return bool(self.machines())

    def machines(self) -> list[str]:
        return ["one-1"] if self.exported and self.exported.zone in self.stock else []

    def has_creations_in_flight(self) -> bool:
        return False

    def written_at(self) -> str:
        return self.written

    def unprotect(self) -> None:
        self.asked.append("unprotect")

    def preview(self) -> Report:
        return Report()

    def destroy(self) -> None:
        self.asked.append("destroy")

    def hand_over(self, name: str, value: str) -> None:
        if name == PLACEMENT_VARIABLE:
            self.handed.append(KnownPlacement.model_validate_json(value))

    def up(self, *, limit_s: float | None = None) -> Report:
        noted = read_placement(STACK)
        assert noted
        self.asked.append(noted.zone)
        self.limits_s.append(limit_s)
        if noted.zone not in self.stock:
            raise self.error or DeployError(self.words)
        return Report()


class Cloud:
    """A cloud with two zones."""

    def candidates(self, _config: DeploymentConfig, _previous: Placement | None) -> list[Candidate]:
        return [Candidate(placement("a")), Candidate(placement("b"))]

    def refuse_other_login(self, _placement: Placement) -> None:
        pass

    def resources(self, _placement: Placement) -> Found:
        return Found()

    def remove_resources(self, resources: Found, *, deadline_s: float) -> None:
        pass

    def provider_environment(self, _project: str | None) -> dict[str, str]:
        return {}

    def await_ends(self, _placement: Placement) -> None:
        pass

    def wake(self, _placement: Placement) -> list[str]:
        return []

    def hint_for(self, text: str) -> str:
        return "ask an administrator" if "no right" in text else ""

    def replaced(self, _config: DeploymentConfig, _previous: Placement, first: Placement) -> list[str]:
        return [f"host in {first.zone} is replaced"]

    def out_of_stock(self, text: str) -> str | None:
        return "no stock" if "no stock" in text else None


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Placement | None]:
    """The placements that preflight was called with."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    for module in (up_module, preview_module, login):
        monkeypatch.setattr(module, "rented_cloud", lambda _cloud: Cloud())
    asked: list[Placement | None] = []

    def findings(_config: DeploymentConfig, _stack: str, held: Placement | None) -> list[Finding]:
        asked.append(held)
        return []

    monkeypatch.setattr(preflight, "findings", findings)
    return asked


def up(engine: Engine) -> None:
    up_module.up(load_stack("aws-cpu"), STACK, engine)  # type: ignore[arg-type]  # the double has what `up` calls


@pytest.mark.usefixtures("checked")
def test_a_blank_disk_of_a_failed_attempt_is_unprotected() -> None:
    """A kept data volume is protected; one in a zone without stock once held the stack there forever."""
    engine = Engine(stock={"b"})
    up(engine)
    assert engine.asked == ["unprotect", "a", "unprotect", "b"]


@pytest.mark.usefixtures("checked")
def test_an_engine_error_gets_the_hint_of_the_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the role for spot machines is missing, AWS reports only that it may not be created."""
    engine = Engine(stock=set())
    monkeypatch.setattr(engine, "up", Mock(side_effect=DeployError("failed", detail="  no right to make the role")))

    with pytest.raises(DeployError, match="failed; ask an administrator"):
        up(engine)


EXPORTED = [
    pytest.param(None, id="no outputs"),
    pytest.param(placement("b"), id="outputs of the last attempt"),
    pytest.param(placement("a"), id="outputs of an earlier attempt"),
]


def lacking(*resources: str) -> EngineFailedError:
    """Return the error of an engine that found no stock for some resources."""
    error = EngineFailedError("no stock")
    error.resources = resources
    return error


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize(
    ("is_complete", "resources", "tried"),
    [
        pytest.param(True, ("one-gateway",), ["a"], id="the gateway of a running stack"),
        pytest.param(True, ("one-gateway", "one-2"), ["a", "b"], id="an engine too"),
        pytest.param(True, ("one-2",), ["a", "b"], id="an engine"),
        pytest.param(False, ("one-gateway",), ["unprotect", "a", "unprotect", "b"], id="before anything runs"),
    ],
)
def test_no_stock_for_the_gateway_never_moves_a_running_stack(
    is_complete: bool, resources: tuple[str, ...], tried: list[str]
) -> None:
    """Another place would move the machines that run, or give them a fallback's type."""
    engine = Engine(stock=set(), exported=placement("a") if is_complete else None)
    engine.error = lacking(*resources)

    with pytest.raises(DeployError) as refused:
        up(engine)

    assert engine.asked == tried
    stays = is_complete and resources == ("one-gateway",)
    assert ("write another gateway.machine.type, or try later" in str(refused.value)) is stays


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize(
    ("is_complete", "tried"),
    [
        pytest.param(True, ["a", "a"], id="a running stack"),
        pytest.param(False, ["unprotect", "a", "unprotect", "a", "unprotect", "b", "unprotect", "b"], id="a new stack"),
    ],
)
def test_no_stock_for_a_pool_tries_its_fallbacks_and_moves_nothing_that_runs(
    monkeypatch: pytest.MonkeyPatch, is_complete: bool, tried: list[str]
) -> None:
    pools = [PoolPlacement(machine_type=each, image_name="a", image="b") for each in ("m6i.xlarge", "m6i.2xlarge")]
    places = [placement(zone).model_copy(update={"pools": {"large": pool}}) for zone in "ab" for pool in pools]
    monkeypatch.setattr(Cloud, "candidates", lambda *_arguments: [Candidate(each) for each in places])
    engine = Engine(stock=set(), exported=placement("a") if is_complete else None)
    engine.error = lacking("one-large-1")

    with pytest.raises(DeployError) as refused:
        up(engine)

    assert engine.asked == tried
    assert "m6i.2xlarge (large)" in str(refused.value.detail)


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize("exported", EXPORTED)
def test_disks_are_still_blank_after_a_failed_first_up(exported: KnownPlacement | None) -> None:
    """The second `up` once took the placement of the failed one for an existing stack and tried only one zone.

    Whether the state has the program's outputs depends on whether the program or the failed engine ended first.
    """
    engine = Engine(stock=set())
    with pytest.raises(DeployError, match="no machines anywhere"):
        up(engine)
    noted = read_placement(STACK)
    assert noted is not None
    assert not noted.is_complete
    assert noted.holds_nothing

    engine = Engine(stock={"b"}, exported=exported)
    engine.machines = list  # type: ignore[method-assign]
    up(engine)

    assert engine.asked == ["unprotect", "a", "unprotect", "b"]


def failed_first_up() -> Engine:
    """Run a first `up` that finds no machine, on an empty state; return its engine."""
    engine = Engine(stock=set(), known=set())
    with pytest.raises(DeployError, match="no machines anywhere"):
        up(engine)
    return engine


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize(
    ("change", "blank"),
    [
        pytest.param({}, True, id="nothing has happened since"),
        pytest.param({"written": "2026-11-22T12:00:00Z"}, False, id="the state was changed elsewhere or by hand"),
        pytest.param({"written": ""}, False, id="the state has no time"),
        pytest.param({"exported": placement("b")}, False, id="a colleague's up succeeded"),
        pytest.param({"machines": lambda: ["one-1"]}, False, id="the state has a host"),
        pytest.param({"machines": lambda: ["one-gateway"]}, True, id="the state has a gateway without a volume"),
        pytest.param({"has_creations_in_flight": lambda: True}, False, id="a host may still appear"),
        pytest.param({"machines": Mock(side_effect=DeployError("no state"))}, False, id="the state is unreadable"),
    ],
)
def test_only_a_volume_that_never_had_a_host_counts_as_blank(change: dict[str, Any], blank: bool) -> None:
    """After a failed first `up`, AWS refused a smaller `data_gib` until `down`, although the disk was blank."""
    failed_first_up()
    noted, engine = read_placement(STACK), Engine(stock={"a"})
    assert noted is not None
    assert noted.blank_at
    for name, value in change.items():
        setattr(engine, name, value)

    up(engine)

    assert bool(engine.handed[-1].blank_at) is blank
    after = read_placement(STACK)
    assert after is not None
    assert not after.blank_at, "the volumes of an existing stack hold data"


@pytest.mark.usefixtures("checked")
def test_the_next_attempt_of_an_up_knows_that_the_volume_is_blank() -> None:
    engine = failed_first_up()

    assert [bool(each.blank_at) for each in engine.handed] == [False, True]


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize(
    ("first", "change"),
    [
        pytest.param(Engine(stock=set()), {}, id="the state had resources before"),
        pytest.param(
            Engine(stock=set(), known=set()), {"machines": lambda: ["one-1"]}, id="one of two hosts was created"
        ),
    ],
)
def test_volumes_that_may_hold_data_are_never_noted_as_blank(first: Engine, change: dict[str, Any]) -> None:
    for name, value in change.items():
        setattr(first, name, value)
    with pytest.raises(DeployError, match="no machines anywhere"):
        up(first)
    up(Engine(stock={"b"}))

    assert not any(each.blank_at for each in first.handed)


@pytest.mark.usefixtures("checked")
def test_volumes_of_an_interrupted_up_do_not_count_as_blank() -> None:
    """It may have created a host that has ended by the next `up`."""
    failed_first_up()
    engine = Engine(stock=set())
    engine.up = stopped  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        up(engine)
    engine = Engine(stock={"a"})

    up(engine)

    assert not engine.handed[-1].blank_at


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize("keep", [(), ("data_volume",)])
def test_a_preview_replaces_a_blank_volume_unless_it_is_protected(keep: tuple[str, ...]) -> None:
    failed_first_up()
    config, engine = load_stack("aws-cpu"), Engine(stock=set())
    config = config.model_copy(update={"storage": config.storage.model_copy(update={"keep_on_down": keep})})

    preview(config, STACK, engine)  # type: ignore[arg-type]  # as above

    assert bool(engine.handed[-1].blank_at) is (not keep)


@pytest.mark.usefixtures("checked")
def test_a_state_with_machines_takes_precedence_over_an_unfinished_note() -> None:
    """A colleague's `up` succeeded meanwhile: the existing stack stays protected and in its zone."""
    write_placement(STACK, placement("b").model_copy(update={"progress": Progress()}))
    engine = Engine(stock={"a"}, exported=placement("a"))

    up(engine)

    assert engine.asked == ["a"]


@pytest.mark.usefixtures("checked")
def test_an_interrupted_first_up_does_not_count_as_one_without_stock() -> None:
    """The next `up` keeps the machine that the first one got: it may be the last in stock."""
    engine = Engine(stock=set())
    engine.up = stopped  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        up(engine)

    noted = read_placement(STACK)

    assert noted is not None
    assert (noted.zone, noted.is_complete, noted.holds_nothing) == (placement("a").zone, False, False)


def stopped(**_: float | None) -> Report:
    """Stop as Ctrl-C does."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("exists", [False, True])
def test_up_may_use_another_region_if_the_first_up_got_no_machine(
    monkeypatch: pytest.MonkeyPatch, checked: list[Placement | None], exists: bool
) -> None:
    """`up` once advised another region, but the next `up` refused to move without a `down`."""
    seen: list[Placement | None] = []

    def candidates(_cloud: Cloud, config: DeploymentConfig, previous: Placement | None) -> list[Candidate]:
        seen.append(previous)
        refuse_move(config, previous)
        return [Candidate(placement("a").model_copy(update={"region": config.region}))]

    monkeypatch.setattr(Cloud, "candidates", candidates)
    progress = None if exists else Progress(holds_nothing=True)
    write_placement(
        STACK,
        placement("c").model_copy(update={"region": "far-1", "progress": progress}),
    )
    engine = Engine(stock={"a"})

    if exists:
        with pytest.raises(ConfigError, match="the stack is in far-1, not in "):
            up(engine)
        assert engine.asked == []
        return
    up(engine)

    assert engine.asked == ["unprotect", "destroy", "unprotect", "a"]
    assert seen == [None]
    assert len(checked) == 1


@pytest.mark.usefixtures("checked")
def test_a_checkout_without_a_note_reads_the_placement_from_the_state() -> None:
    """In CI there is no note: the state's outputs show that the stack exists, so it stays protected in its zone."""
    engine = Engine(stock={"b"}, exported=placement("b"))

    assert known_placement("aws", STACK, engine) == placement("b")  # type: ignore[arg-type]  # as above
    assert read_placement(STACK) == placement("b")
    up(engine)
    assert "unprotect" not in engine.asked


@pytest.fixture
def spared(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The ids that recovery does not take for orphans, for each time that it looks for orphans. It removes none."""
    asked: list[set[str]] = []

    def note(_cloud: Cloud, _placement: Placement, ids: set[str], _deadline_s: float, **_more: Any) -> list[str]:
        asked.append(ids)
        return []

    monkeypatch.setattr(recovery, "holder_of", lambda _cloud, held_placement: (Cloud(), held_placement))
    monkeypatch.setattr(recovery, "remove_orphans", note)
    monkeypatch.setattr(previous, "hand_provider_environment", lambda *_asked: None)
    return asked


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize(
    ("noted", "known", "looks"),
    [
        pytest.param(placement("a"), {"i-1"}, True, id="exists"),
        pytest.param(placement("a"), set(), False, id="exists, and the state is missing"),
        pytest.param(placement("a").model_copy(update={"progress": Progress()}), set(), True, id="never had a host"),
    ],
)
def test_recovery_does_not_look_for_orphans_of_an_existing_stack_without_a_state(
    spared: list[set[str]], noted: KnownPlacement, known: set[str], looks: bool
) -> None:
    """With another backend the state was empty, and the next `up` would have removed all of a running stack."""
    write_placement(STACK, noted)
    engine = Engine(stock=set(), interrupted=True, known=known)

    recover("aws", STACK, engine)  # type: ignore[arg-type]  # as above

    assert spared == ([known] if looks else [])


@pytest.mark.usefixtures("checked")
def test_recovery_spares_what_another_checkout_has_just_created(spared: list[set[str]]) -> None:
    """`up` had read the state minutes ago: what it lacked then seemed to be an orphan."""
    write_placement(STACK, placement("a"))
    engine = Engine(stock=set(), interrupted=True, known={"i-1"}, made_elsewhere={"i-2"})

    recover("aws", STACK, engine)  # type: ignore[arg-type]  # as above

    assert spared == [{"i-1", "i-2"}]


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize(
    ("noted", "in_flight", "missing", "removed"),
    [
        pytest.param({}, True, ["instance"], True, id="its creation was pending"),
        pytest.param({}, False, ["instance"], False, id="a host without a pending creation"),
        pytest.param({}, False, ["volume"], False, id="a disk without a pending creation"),
        pytest.param({}, False, ["address"], True, id="neither a host nor a disk"),
        pytest.param({"progress": Progress()}, False, ["instance"], True, id="the stack never had a host"),
    ],
)
def test_recovery_removes_nothing_if_the_state_lacks_the_host_of_an_existing_stack(  # by name
    monkeypatch: pytest.MonkeyPatch,
    noted: dict[str, Any],
    in_flight: bool,
    missing: list[str],
    removed: bool,
) -> None:
    """With an older copy of the state, recovery once removed the running host and its disk."""
    resources, gone = (
        [CloudResource(kind, f"{kind}-1", "ap-northeast-2", STACK, "0123abcd") for kind in missing],
        list[CloudResource](),
    )
    monkeypatch.setattr(recovery, "holder_of", lambda _cloud, held_placement: (Cloud(), held_placement))
    monkeypatch.setattr(previous, "hand_provider_environment", lambda *_asked: None)
    monkeypatch.setattr(Cloud, "resources", lambda *_asked: Found(resources))
    monkeypatch.setattr(Cloud, "is_known", lambda _cloud, resource, known: resource.id in known, raising=False)
    monkeypatch.setattr(Cloud, "remove_resources", lambda _cloud, those, **_more: gone.extend(those))
    write_placement(STACK, placement("a").model_copy(update=noted))
    engine = Engine(stock=set(), interrupted=True, known={"vpc-1"})
    engine.has_creations_in_flight = lambda: in_flight  # type: ignore[method-assign]

    if removed:
        recover("aws", STACK, engine)  # type: ignore[arg-type]  # as above
        assert gone == resources
        return
    with pytest.raises(DeployError, match=r"lacks 1 host\(s\) or disk\(s\) that the cloud has") as refused:
        recover("aws", STACK, engine)  # type: ignore[arg-type]  # as above
    assert gone == []
    assert "nothing was removed" in str(refused.value)
    assert "make down STACK=one" in str(refused.value)
    assert refused.value.detail == f"  {missing[0]} {missing[0]}-1 in ap-northeast-2 (stack one)"


HOST = CloudResource("instance", "i-1", "ap-northeast-2", STACK, "0123abcd")
KEPT = CloudResource("volume", "vol-1", "ap-northeast-2", STACK, "0123abcd", keep=True, size_gib=100)
UNASKED = Unasked("instance", "ap-northeast-2", DeniedError("is not allowed"))


@pytest.mark.parametrize("command", ["up", "preview"])
def test_refuses_to_create_machines_again_if_the_state_is_lost(
    monkeypatch: pytest.MonkeyPatch, checked: list[Placement | None], command: str
) -> None:
    """With another backend `up` created all a second time, and the next `up` removed the machines in use."""
    monkeypatch.setattr(Cloud, "resources", lambda *_asked: Found([HOST, KEPT]))
    write_placement(STACK, placement("a"))
    engine = Engine(stock={"a"}, known=set())
    run = {"up": up_module.up, "preview": preview}[command]

    with pytest.raises(DeployError, match=r"state in s3://states is empty, but the cloud has 1 resource") as refused:
        run(load_stack("aws-cpu"), STACK, engine)  # type: ignore[arg-type]  # as above

    assert refused.value.detail == "  instance i-1 in ap-northeast-2 (stack one)"
    assert "PULUMI_BACKEND_URL" in str(refused.value)
    assert "make down STACK=one" in str(refused.value)
    assert (engine.asked, checked) == ([], [])
    assert read_placement(STACK) == placement("a")


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize(
    ("noted", "known", "answer", "printed"),
    [
        pytest.param(placement("a"), set(), Found(), "", id="the cloud has nothing either"),
        pytest.param(placement("a"), {"i-1"}, Found([HOST]), "", id="the state has resources"),
        pytest.param(
            placement("a").model_copy(update={"progress": Progress()}),
            set(),
            Found([HOST]),
            "",
            id="the stack never had a host",
        ),
        pytest.param(placement("a"), set(), Found([KEPT]), "! volume vol-1", id="the cloud has only a kept volume"),
        pytest.param(placement("a"), set(), Found([], [UNASKED]), "queried for: instance", id="one kind denied"),
        pytest.param(
            placement("a"),
            set(),
            DeniedError("is not allowed"),
            "has machines of this stack: is not",
            id="all denied",
        ),
    ],
)
def test_up_continues_if_an_empty_state_may_be_right(  # noqa: PLR0917  # pytest passes them by name
    noted: KnownPlacement,
    known: set[str],
    answer: Found | DeniedError,
    printed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Cloud, "resources", Mock(side_effect=[answer]))
    write_placement(STACK, noted)
    engine = Engine(stock={"a"}, known=known)

    up(engine)

    assert engine.asked[-1] == "a"
    assert printed in capsys.readouterr().err


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize(
    ("runs", "tried"),
    [
        pytest.param(True, ["a"], id="one of its hosts runs"),
        pytest.param(False, ["a", "b"], id="none of its hosts runs"),
        pytest.param(DeniedError("is not allowed"), ["a"], id="the query is denied"),
    ],
)
def test_a_spot_stack_moves_only_if_none_of_its_hosts_runs(
    monkeypatch: pytest.MonkeyPatch, runs: bool | DeniedError, tried: list[str]
) -> None:
    """AWS reclaimed one of two hosts; its zone had no stock, and `up` moved the running host to another zone."""

    def asked(_cloud: Cloud, _placement: Placement) -> bool:
        if isinstance(runs, DeniedError):
            raise runs
        return runs

    monkeypatch.setattr(Cloud, "runs", asked, raising=False)
    write_placement(STACK, placement("a"))
    config = load_stack("aws-cpu")
    spot = config.model_copy(update={"machine": config.machine.model_copy(update={"market": "spot"})})
    engine = Engine(stock=set())

    with pytest.raises(DeployError, match="no machines anywhere"):
        up_module.up(spot, STACK, engine)  # type: ignore[arg-type]  # the double has what `up` calls

    assert engine.asked == tried


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize(("exists", "shown"), [(True, "a"), (False, "b")])
def test_preview_without_machines_uses_the_zone_of_the_blank_disk(
    capsys: pytest.CaptureFixture[str], exists: bool, shown: str
) -> None:
    """The preview once failed because a first `up` without stock had left a kept blank disk in another zone."""
    progress = None if exists else Progress(holds_nothing=True)
    write_placement(STACK, placement("b").model_copy(update={"progress": progress}))
    engine = Engine(stock=set())

    preview(load_stack("aws-cpu"), STACK, engine)  # type: ignore[arg-type]  # as above

    assert f"  g5.xlarge in {shown}\n" in capsys.readouterr().err


@pytest.mark.usefixtures("checked")
def test_preview_prints_the_speed_of_the_data_volume_and_its_price(capsys: pytest.CaptureFixture[str]) -> None:
    _report, cost = preview(load_stack("aws-cpu"), STACK, Engine(stock=set()))  # type: ignore[arg-type]

    printed = capsys.readouterr().err
    assert "  price: $" in printed
    assert "  data volume: gp3, 125 MiB/s and 3000 IOPS, no extra charge\n" in printed
    assert "GiB of weights in" in printed
    assert cost["not_priced"] == []
    assert cost["data_volume_speed"]["mib_per_s"] == 125
    assert "pools" not in cost


@pytest.mark.usefixtures("checked")
def test_preview_has_the_data_volumes_of_all_pools(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = parse_deployment(aws_stacks.stack_value() | behind(large={"type": "g5.xlarge"}), "a test")
    large = PoolPlacement(machine_type="g5.xlarge", image_name="ubuntu-24.04", image="ami-1")
    placed = Candidate(placement("a").model_copy(update={"pools": {"large": large}}))
    monkeypatch.setattr(Cloud, "candidates", lambda *_: [placed])

    _report, cost = preview(config, STACK, Engine(stock=set()))  # type: ignore[arg-type]

    assert "  pool large: data volume: gp3, 125 MiB/s and 3000 IOPS, no extra charge\n" in capsys.readouterr().err
    assert cost["pools"]["large"]["data_volume_speed"]["mib_per_s"] == 125


@pytest.mark.usefixtures("checked")
def test_the_disk_of_an_existing_stack_stays_protected() -> None:
    up(Engine(stock={"a"}))
    engine = Engine(stock={"b"})
    up(engine)
    assert engine.asked == ["a", "b"]


@pytest.mark.usefixtures("checked")
def test_replacements_are_reported_before_the_engine_starts(capsys: pytest.CaptureFixture[str]) -> None:
    up(Engine(stock={"a"}))
    assert "is replaced" not in capsys.readouterr().err, "a first up replaces no host"

    up(Engine(stock={"a"}))

    printed = capsys.readouterr().err
    assert printed.index("! host in a is replaced") < printed.index("make the machines")


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize(
    ("has_one", "line"),
    [
        pytest.param(False, None, id="none before and after"),
        pytest.param(
            True, "the gateway moves to the machines with engines: clients need another address", id="removed"
        ),
    ],
)
def test_clients_that_need_another_address_are_reported(
    capsys: pytest.CaptureFixture[str], has_one: bool, line: str | None
) -> None:
    own = GatewayPlacement(machine_type="t3.medium", image="ami-1") if has_one else None
    before = placement("a").model_copy(update={"gateway": own})

    up(Engine(stock={"a"}, exported=before))

    printed = capsys.readouterr().err
    assert ("the gateway moves" in printed) is (line is not None)
    assert line is None or printed.index(line) < printed.index("make the machines")


@pytest.mark.usefixtures("checked")
def test_the_engine_gets_the_rest_of_the_placement_timeout() -> None:
    """`up` once waited without limit for an engine that hung in its first attempt."""
    engine = Engine(stock={"b"})
    up(engine)
    first, second = engine.limits_s
    assert first is not None
    assert second is not None
    assert 890 < second < first <= 900


@pytest.mark.usefixtures("checked")
def test_the_error_for_a_stack_bound_to_its_zone_says_how_to_move_it() -> None:
    write_placement(STACK, placement("a"))
    with pytest.raises(DeployError, match=r"the data volume is in a: .* write `zones` without a to move, which"):
        up(Engine(stock=set()))


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize(
    ("words", "asked"), [("no stock", []), ("unexpected state 'terminated', last error: no stock", ["refresh"])]
)
def test_an_instance_that_ended_while_starting_is_refreshed_out_of_the_state(words: str, asked: list[str]) -> None:
    """AWS accepted it, then ended it for lack of capacity; `up` once stopped there, and the state still named it."""
    engine = Engine(stock=set(), words=words)
    with pytest.raises(DeployError, match="no machines anywhere"):
        up(engine)
    assert [each for each in engine.asked if each == "refresh"] == asked
    assert engine.asked[:4] == ["unprotect", "a", "unprotect", "b"]


def test_preflight_runs_until_the_stack_has_hosts(checked: list[Placement | None]) -> None:
    """A failed first `up` leaves a placement; preflight once skipped the second `up` for it."""
    up(Engine(stock={"a"}))
    assert checked == [None]
    up(Engine(stock={"a"}))
    assert [held and held.zone for held in checked] == [None, "a"]
    outputs_file(STACK).parent.mkdir(parents=True, exist_ok=True)
    outputs_file(STACK).write_text("{}")
    write_placement(STACK, placement("a"))
    up(Engine(stock={"a"}))
    assert len(checked) == 2  # preflight did not run again


@pytest.mark.usefixtures("checked")
def test_a_failed_up_says_that_the_created_resources_cost_money() -> None:
    with pytest.raises(DeployError, match="no machines anywhere") as failure:
        up(Engine(stock=set()))
    assert failure.value.detail.endswith("stays, and costs money, until `make down STACK=one`")


OFFICE = WeeklySchedule(start="08:00", stop="20:00", time_zone="Asia/Seoul")


@pytest.mark.usefixtures("checked")
@pytest.mark.parametrize(("within", "started"), [(True, ["host-1"]), (False, [])], ids=["within the hours", "outside"])
def test_a_host_that_missed_its_weekly_start_is_started(
    within: bool, started: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With weekly hours, `up` once never started a stopped host, as the schedule may have stopped it."""
    woken: list[str] = []

    def wake(_cloud: Cloud, _placement: Placement) -> list[str]:
        woken.append("host-1")
        return woken

    monkeypatch.setattr(Cloud, "wake", wake)
    monkeypatch.setattr(up_module, "runs_at", lambda _weekly, _now: within)
    config = load_stack("aws-cpu")
    config = config.model_copy(update={"lifetime": config.lifetime.model_copy(update={"weekly": OFFICE})})

    up_module.up(config, STACK, Engine(stock={"a"}))  # type: ignore[arg-type]

    assert woken == started
    assert "price: $" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "printed"),
    [
        pytest.param(
            DeniedError("is not allowed"), "could not check whether hosts are stopping or terminating", id="denied"
        ),
        pytest.param(DeployError("i-1 is stopping after 300 s"), None, id="it does not end"),
    ],
)
@pytest.mark.usefixtures("checked")
def test_up_first_waits_for_hosts_that_are_about_to_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: DeployError, printed: str | None
) -> None:
    """The engine counts such hosts as running. If the query is denied, `up` continues with a warning."""
    write_placement(STACK, placement("a"))
    engine = Engine(stock={"a"})

    def await_ends(_cloud: Cloud, _placement: Placement) -> None:
        raise error

    monkeypatch.setattr(Cloud, "await_ends", await_ends)
    if printed is None:
        with pytest.raises(DeployError, match="i-1 is stopping"):
            up(engine)
        assert engine.asked == [], "the engine must not run"
    else:
        up(engine)
        assert printed in capsys.readouterr().err
        assert engine.asked[-1] == "a"
