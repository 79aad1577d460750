"""From notices to files: when the host drains, when its engine stops, and when a notice ends again."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.spot_notice.finding import Finding, Seen
from services.spot_notice.settings import Settings
from services.spot_notice.watch import CANCELLED_LOOKS, Watch

NOW = 1_800_000_000.0


@dataclass
class Scene:
    """A cloud and its clock."""

    folder: Path
    seen: Seen = field(default_factory=Seen)
    now: float = NOW
    drain_on_rebalance: bool = False
    sends_records: bool = False

    def watch(self) -> Watch:
        settings = Settings(
            "aws",
            drain_on_rebalance=self.drain_on_rebalance,
            sends_records=self.sends_records,
            notice_dir=str(self.folder),
        )
        return Watch(settings, lambda: self.seen, lambda: self.now)

    def says(self, *findings: Finding, problem: str = "") -> None:
        self.seen = Seen(findings, problem)

    def files(self) -> set[str]:
        return {each.name for each in self.folder.iterdir()}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


TERMINATE = Finding("terminate", "aws", NOW, NOW + 120)
REBALANCE = Finding("rebalance", "aws", NOW, advice=True)


def test_a_notice_is_written_once_and_the_engine_stops_before_the_end(scene: Scene) -> None:
    watch = scene.watch()
    watch.step()
    assert (scene.files(), watch.state) == (set(), "no notice")
    scene.says(TERMINATE)
    watch.step()
    assert json.loads((scene.folder / "notice.json").read_text()) == {
        "kind": "terminate",
        "source": "aws",
        "at": NOW,
        "deadline": NOW + 120,
    }
    assert watch.state == "aws takes the machine back at 08:02:00 UTC: terminate"
    scene.now = NOW + 109
    watch.step()
    assert scene.files() == {"notice.json"}
    scene.now = NOW + 110
    watch.step()
    assert scene.files() == {"notice.json", "stop"}
    (scene.folder / "stop").unlink()
    watch.step()
    assert scene.files() == {"notice.json"}


def test_records_are_sent_when_the_host_drains_and_when_its_engine_stops(scene: Scene) -> None:
    scene.sends_records = True
    watch = scene.watch()
    scene.says(TERMINATE)
    watch.step()
    assert scene.files() == {"notice.json", "send"}
    (scene.folder / "send").unlink()
    watch.step()
    assert scene.files() == {"notice.json"}
    (scene.folder / "sent.json").write_text(json.dumps({"folder": "s3://b/n/", "problem": "x.gz: HTTP 403"}))
    watch.step()
    assert watch.state.endswith(": terminate; its records are in s3://b/n/; not sent: x.gz: HTTP 403")
    scene.now = NOW + 110
    watch.step()
    assert scene.files() == {"notice.json", "sent.json", "stop", "send"}


def test_a_result_that_cannot_be_read_stops_nothing(scene: Scene) -> None:
    watch = scene.watch()
    scene.says(TERMINATE)
    (scene.folder / "sent.json").write_text("[]")
    watch.step()
    assert "; what came of its records cannot be read: " in watch.state
    scene.says()
    for _ in range(CANCELLED_LOOKS + 1):
        watch.step()
    assert (scene.files(), watch.state) == (set(), "no notice")


def test_a_notice_without_an_end_drains_and_stops_nothing(scene: Scene) -> None:
    watch = scene.watch()
    scene.says(Finding("unreadable notice", "aws", NOW))
    scene.now += 10_000
    watch.step()
    assert scene.files() == {"notice.json"}


def test_a_notice_that_is_taken_back(scene: Scene) -> None:
    watch = scene.watch()
    scene.says(TERMINATE)
    watch.step()
    scene.says()
    for _ in range(CANCELLED_LOOKS - 1):
        watch.step()
    assert scene.files() == {"notice.json"}
    watch.step()
    assert (scene.files(), watch.state) == (set(), "no notice")


def test_a_silent_service_takes_no_notice_back(scene: Scene) -> None:
    watch = scene.watch()
    scene.says(TERMINATE)
    watch.step()
    scene.says(problem="timed out")
    for _ in range(10 * CANCELLED_LOOKS):
        watch.step()
    assert scene.files() == {"notice.json"}
    scene.now = NOW + 115
    watch.step()
    assert "stop" in scene.files()


def test_a_restart_of_the_service_lets_no_host_back_in(scene: Scene) -> None:
    scene.says(TERMINATE)
    scene.watch().step()
    scene.says(problem="the metadata server has not answered yet")
    watch = scene.watch()
    watch.step()
    assert scene.files() == {"notice.json"}
    scene.now = NOW + 110
    watch.step()
    assert scene.files() == {"notice.json", "stop"}


@pytest.mark.parametrize(
    ("kind", "notice_s", "restart_s"),
    [pytest.param("preempted", 30, 15, id="preempted"), pytest.param("maintenance", 3600, 600, id="shown only yet")],
)
def test_a_restart_of_the_service_does_not_move_the_end(scene: Scene, kind: str, notice_s: int, restart_s: int) -> None:
    """GCP says no end, so Google counts it from the first look. A restart once moved it behind the machine's end."""
    scene.says(Finding(kind, "gcp", NOW, NOW + notice_s, counted=True))
    scene.watch().step()
    scene.now = NOW + restart_s
    scene.says(Finding(kind, "gcp", scene.now, scene.now + notice_s, counted=True))
    watch = scene.watch()
    watch.step()
    scene.now = NOW + notice_s - 10
    watch.step()
    assert scene.files() == {"notice.json", "stop"}
    assert json.loads((scene.folder / "notice.json").read_text())["deadline"] == NOW + notice_s


def test_a_notice_after_an_earlier_ones_end_has_an_end_of_its_own(scene: Scene) -> None:
    scene.says(Finding("preempted", "gcp", NOW, NOW + 30, counted=True))
    scene.watch().step()
    scene.now = NOW + 1000
    scene.says(Finding("preempted", "gcp", scene.now, scene.now + 30, counted=True))
    watch = scene.watch()
    watch.step()
    assert scene.files() == {"notice.json"}
    assert json.loads((scene.folder / "notice.json").read_text())["deadline"] == NOW + 1030


@pytest.mark.parametrize(
    ("later_s", "at"), [pytest.param(0, NOW, id="the same end"), pytest.param(60, NOW + 20, id="a later end")]
)
def test_an_end_that_the_cloud_names_is_true_after_a_restart(scene: Scene, later_s: int, at: float) -> None:
    """A notice was taken back and another one came while the service was down: its engine once stopped too early."""
    scene.says(Finding("terminate", "aws", NOW, NOW + 120))
    scene.watch().step()
    scene.now = NOW + 20
    scene.says(Finding("terminate", "aws", scene.now, NOW + 120 + later_s))
    watch = scene.watch()
    watch.step()
    notice = json.loads((scene.folder / "notice.json").read_text())
    assert (notice["at"], notice["deadline"]) == (at, NOW + 120 + later_s)


def test_a_notice_of_an_earlier_process_that_the_cloud_does_not_know_stops_nothing(scene: Scene) -> None:
    scene.says(TERMINATE)
    scene.watch().step()
    scene.says()
    scene.now = NOW + 130
    watch = scene.watch()
    for _ in range(CANCELLED_LOOKS):
        watch.step()
    assert (scene.files(), watch.state) == (set(), "no notice")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": 1}'])
def test_a_file_without_a_notice_goes_when_the_cloud_says_so(scene: Scene, text: str) -> None:
    (scene.folder / "notice.json").write_text(text)
    watch = scene.watch()
    for _ in range(CANCELLED_LOOKS - 1):
        watch.step()
    assert scene.files() == {"notice.json"}
    watch.step()
    assert (scene.files(), watch.state) == (set(), "no notice")


@pytest.mark.parametrize(("drains", "file"), [(False, "recommendation.json"), (True, "notice.json")])
def test_a_recommendation_drains_if_the_stack_file_says_so(scene: Scene, drains: bool, file: str) -> None:
    scene.drain_on_rebalance = drains
    watch = scene.watch()
    scene.says(REBALANCE)
    watch.step()
    assert scene.files() == {file}
    scene.says(REBALANCE, TERMINATE)
    watch.step()
    assert scene.files() == {"notice.json"}
    assert json.loads((scene.folder / "notice.json").read_text())["kind"] == "terminate"


def test_a_notice_an_hour_before_the_end_drains_only_later(scene: Scene) -> None:
    """GCP says an hour before that maintenance ends a machine with a GPU."""
    watch = scene.watch()
    scene.says(Finding("maintenance", "gcp", NOW, NOW + 3600))
    watch.step()
    assert scene.files() == {"recommendation.json"}
    scene.now += 3301
    watch.step()
    assert scene.files() == {"notice.json"}


def test_a_service_that_cannot_ask_says_so(scene: Scene) -> None:
    watch = scene.watch()
    scene.says(problem="the metadata service refuses a token: 403")
    watch.step()
    assert watch.state == "cannot ask the cloud: the metadata service refuses a token: 403"
