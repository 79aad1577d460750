"""The watcher as a whole, with a clock of its own: admission, hangs, restarts, drains, its own restart."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.engine_watch.engine import Answer
from services.engine_watch.processes import Process
from services.engine_watch.settings import Settings
from services.engine_watch.watch import Watch
from tests.unit.services.engine_watch.looks import process


@dataclass
class Scene:
    """An engine as its watcher sees it; a test changes it between two looks."""

    folder: Path
    now: float = 1000.0
    answer: Answer = field(default_factory=lambda: Answer("yes"))
    processes: tuple[Process, ...] = (process(1), process(2))
    problems: dict[str, str] = field(default_factory=dict)
    """Why a model gives no token."""
    asked: list[str] = field(default_factory=list)
    loaded: str = ""
    """The model that Ollama holds in memory."""
    waited_s: float = 0
    connected: bool = False
    held: bool = False
    """Our own requests get no answer."""
    pending: list[Callable[[], None]] = field(default_factory=list)

    def watch(self, engine: str = "vllm", *adapters: str) -> Watch:
        (self.folder / "adapters.json").write_text(json.dumps(adapters))
        settings = Settings(
            engine=engine,
            unit=f"{engine}.service",
            port=8000,
            base="tiny",
            burning_s=60,
            agent_address="127.0.0.1",
            agent_port=8406,
            metrics_port=8410,
            adapters_file=f"{self.folder}/adapters.json",
            notice_dir=str(self.folder),
            runtime_dir=str(self.folder),
        )
        return Watch(settings, self, lambda: self.processes, clock=lambda: self.now, start=self.start)  # type: ignore[arg-type]

    def counters(self) -> Answer:
        return self.answer

    def in_memory(self) -> str:
        return self.loaded

    def token(self, model: str, timeout_s: float = 120) -> str:
        self.waited_s = timeout_s
        self.asked.append(model)
        return self.problems.get(model, "")

    def asked_by_others(self, _proc: str) -> bool:
        return self.connected

    def start(self, work: Callable[[], None]) -> None:
        if self.held:
            self.pending.append(work)
        else:
            work()

    def pass_by(self, watch: Watch, seconds: int) -> list[str]:
        """Look once a second; return the agent's answers."""
        said = []
        for _ in range(seconds):
            self.now += 1
            watch.step()
            said.append(watch.agent_line().strip())
        return said


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_lets_requests_in_after_a_token_from_each_model_and_then_slowly(scene: Scene) -> None:
    watch = scene.watch("vllm", "contract@3", "summary@1")
    said = scene.pass_by(watch, 20)
    assert scene.asked == ["tiny", "contract@3", "summary@1"]
    assert said[0].startswith("up ready 25%")
    assert said[-1] == "up ready 100%"
    shares = [int(line.split()[2].rstrip("%")) for line in said]
    assert shares == sorted(shares)


def test_waits_for_the_base_model(scene: Scene) -> None:
    scene.problems["tiny"] = "HTTP 500"
    watch = scene.watch()
    assert set(scene.pass_by(watch, 5)) == {"down # no token from tiny: HTTP 500"}
    scene.problems.clear()
    assert scene.pass_by(watch, 1) == ["up ready 25%"]


def test_an_adapter_that_fails_keeps_nobody_else_away(scene: Scene) -> None:
    scene.problems["contract@3"] = "HTTP 404"
    watch = scene.watch("vllm", "contract@3", "summary@1")
    assert scene.pass_by(watch, 1) == ["up ready 25%"]
    assert watch.report.failed == {"contract@3": "HTTP 404"}
    assert 'llm_watch_model_ready{model="contract@3"} 0' in watch.metrics()
    assert 'llm_watch_model_ready{model="summary@1"} 1' in watch.metrics()
    scene.problems.clear()
    scene.pass_by(watch, 70)
    assert watch.report.failed == {}


STATES: Mapping[str, tuple[str, str]] = {
    "stopped": ("T", "VLLM::EngineCor is stopped by a signal or a debugger"),
    "still": ("S", "has work and nothing moves for 3 s"),
}


@pytest.mark.parametrize(("state", "reason"), STATES.values(), ids=STATES)
def test_a_hang_is_out_of_rotation_and_ends_by_one_restart(scene: Scene, state: str, reason: str) -> None:
    watch = scene.watch()
    scene.pass_by(watch, 20)
    scene.answer = Answer("yes", busy=True, mark=("1",))
    scene.processes = (process(1), process(2, state=state))
    said = scene.pass_by(watch, 4)
    assert said[-1] == f"down # {reason}"
    assert not (scene.folder / "restart").exists()
    scene.pass_by(watch, 20)
    assert (scene.folder / "restart").read_text()
    (scene.folder / "restart").unlink()
    scene.pass_by(watch, 60)
    assert not (scene.folder / "restart").exists()
    assert (watch.report.hangs, watch.report.restarts) == (1, 1)
    scene.answer, scene.processes = Answer("yes"), (process(11), process(12))
    assert scene.pass_by(watch, 1) == ["up ready 25%"]
    assert "llm_watch_hangs_total 1" in watch.metrics()


def test_an_engine_that_goes_on_by_itself_gives_a_token_first(scene: Scene) -> None:
    watch = scene.watch()
    scene.pass_by(watch, 20)
    scene.processes = (process(1), process(2, state="T"))
    assert scene.pass_by(watch, 2)[-1].startswith("down")
    scene.asked.clear()
    scene.processes = (process(1), process(2))
    assert scene.pass_by(watch, 1) == ["up ready 25%"]
    assert scene.asked == ["tiny"]


def test_a_hang_without_work_is_found_by_our_own_request(scene: Scene) -> None:
    watch = scene.watch()
    scene.pass_by(watch, 20)
    scene.held = True
    said = scene.pass_by(watch, 40)
    assert said[-1].startswith("down # has work and nothing moves")


def test_a_connection_without_a_counter_makes_it_ask_sooner(scene: Scene) -> None:
    """A core that hung without work counts no new request as running, so a client waits and no counter shows it."""
    watch = scene.watch()
    scene.pass_by(watch, 6)
    scene.connected = scene.held = True
    assert scene.pass_by(watch, 5)[-1].startswith("down # has work and nothing moves")


def test_ollama_is_not_asked_without_need(scene: Scene) -> None:
    watch = scene.watch("ollama")
    scene.pass_by(watch, 100)
    assert scene.asked == ["tiny"]


def test_ollama_is_asked_for_the_model_that_it_computes_with(scene: Scene) -> None:
    """A question to the base model had Ollama throw an adapter out of memory in the middle of its work."""
    watch = scene.watch("ollama")
    scene.pass_by(watch, 10)
    scene.connected, scene.loaded = True, "contract:3"
    scene.pass_by(watch, 4)
    assert scene.asked == ["tiny", "contract:3"]
    assert scene.waited_s > 60
    scene.loaded = ""
    assert scene.pass_by(watch, 20)[-1] == "up ready 100%"
    assert scene.asked == ["tiny", "contract:3"]


def test_a_question_to_an_earlier_start_of_the_engine_does_not_count(scene: Scene) -> None:
    watch = scene.watch()
    scene.pass_by(watch, 10)
    scene.problems["tiny"] = "HTTP 500"
    scene.held = True
    scene.pass_by(watch, 30)
    scene.processes = (process(11), process(12))
    scene.pass_by(watch, 1)
    for work in scene.pending:
        work()
    assert watch._misses == 0


def test_no_restart_while_the_host_drains(scene: Scene) -> None:
    watch = scene.watch()
    scene.pass_by(watch, 5)
    (scene.folder / "drain").touch()
    scene.processes = (process(1), process(2, state="T"))
    assert set(scene.pass_by(watch, 60)) == {"drain # the engine is about to stop"}
    assert not (scene.folder / "restart").exists()


def test_the_watchers_own_restart_takes_no_engine_away(scene: Scene) -> None:
    scene.pass_by(scene.watch(), 5)
    scene.problems["tiny"] = "not asked at all"
    after = scene.watch()
    assert set(scene.pass_by(after, 3)) == {"up ready 100%"}


def test_an_engine_that_started_meanwhile_is_asked_again(scene: Scene) -> None:
    scene.pass_by(scene.watch(), 5)
    scene.processes = (process(11), process(12))
    scene.problems["tiny"] = "HTTP 500"
    assert scene.pass_by(scene.watch(), 1) == ["down # no token from tiny: HTTP 500"]


NOTICES = {
    "spot": (
        '{"kind": "instance-action", "source": "aws", "at": 1, "deadline": 1800000000}',
        "drain # aws takes the machine back at 08:00:00 UTC: instance-action",
        "1800000000.0",
    ),
    "without an end": ('{"kind": "rebalance", "source": "aws"}', "drain # aws takes the machine back: rebalance", "0"),
    "broken": ("{", "drain # a notice that cannot be read", "0"),
    "empty": ("", "drain # a notice that cannot be read", "0"),
    "no year that exists": (
        '{"kind": "stop", "source": "aws", "deadline": 1e300}',
        "drain # a notice that cannot be read",
        "0",
    ),
    "no text": ("\udcff", "drain # a notice that cannot be read", "0"),
    "not a mapping": ("[]", "drain # a notice that cannot be read", "0"),
    "with another line": (
        '{"kind": "a\\nup ready # 100%", "source": "x"}',
        "drain # x takes the machine back: a up ready 100%",
        "0",
    ),
}


@pytest.mark.parametrize(("text", "line", "deadline"), NOTICES.values(), ids=NOTICES)
def test_a_notice_drains_at_once(scene: Scene, text: str, line: str, deadline: str) -> None:
    watch = scene.watch()
    scene.pass_by(watch, 20)
    (scene.folder / "notice.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    assert watch.agent_line().strip() == line
    assert f"llm_watch_notice_deadline_timestamp_seconds {deadline}" in watch.metrics()
    assert 'state="drain"' in watch.metrics()
    (scene.folder / "notice.json").unlink()
    assert watch.agent_line().strip() == "up ready 100%"
