"""The loop of the watcher: look, judge, admit, and ask for a restart of an engine that hangs."""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from services.engine_watch import notices
from services.engine_watch.admission import Admission
from services.engine_watch.engine import TOKEN_S, Answer, Engine
from services.engine_watch.gpu import Gpus
from services.engine_watch.judge import Look, Memory, Verdict, judge
from services.engine_watch.processes import Process, UnitProcesses
from services.engine_watch.report import Report, agent_line, metrics, share_after, status_line
from services.engine_watch.servers import serve_agent, serve_metrics
from services.engine_watch.settings import Settings
from services.systemd import notify

LOOK_EVERY_S = 1.0
RESTART_AFTER_S = 15.0
"""A hang that lasts so long ends by a restart: by then HAProxy has sent all new requests elsewhere."""
ASK_AGAIN_S = 120.0
"""An engine that still hangs so long after a request for a restart is asked for again."""
IDLE_PROBE_S = 30.0
"""An engine without work gives one token this often: no counter shows the hang of one that nobody asks."""
DOUBT_PROBE_S = 5.0
"""The same, if somebody holds a connection to it: the request may have been lost in the hang."""
MISSES = 2
"""Tokens in a row that did not come until an idle engine counts as unable to compute."""
ADMITTED = "admitted"
RESTART = "restart"

Run = tuple[int, int]
"""One start of the engine: its first process and when that started."""


class Watch:
    """The watcher of one engine. `step` is one look; tests give it other senses."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        processes: Callable[[], tuple[Process, ...]],
        *,
        clock: Callable[[], float] = time.monotonic,
        start: Callable[[Callable[[], None]], None] = lambda work: threading.Thread(target=work, daemon=True).start(),
        gpu: Callable[[], bool | None] | None = None,
    ) -> None:
        self.report = Report(looked_at=time.time(), works=False, reason="the watcher has just started")
        self._settings = settings
        self._engine = engine
        self._processes = processes
        self._clock = clock
        self._start = start
        self._gpu = gpu or Gpus().busy
        self._runtime = Path(settings.runtime_dir)
        self._memory = Memory()
        self._run: Run | None = None
        self._admitted = False
        self._admission = self._new_admission()
        self._back_at = -1e9
        """When the host came back, for the slow start."""
        self._asking = False
        """Whether our own request is on its way."""
        self._asked_at = -1e9
        self._misses = 0
        self._hung_at: float | None = None
        self._restart_asked_at = -1e9

    @property
    def notice(self) -> notices.Notice | None:
        """Why the host drains, read now."""
        return notices.current(Path(self._settings.notice_dir))

    def agent_line(self) -> str:
        """Return the answer to HAProxy, as of now."""
        return agent_line(self.report, self.notice)

    def metrics(self) -> str:
        """Return what Prometheus reads, as of now."""
        return metrics(self.report, self.notice)

    def step(self) -> None:
        """Look once and report."""
        look = self._look()
        self._begin_run(look)
        self._memory, verdict = judge(self._memory, look, self._settings.burning_s)
        self._on_hang(verdict, look.at)
        if verdict.kind == "works":
            self._ask(look)
        self._tell(verdict, look.at)

    def _look(self) -> Look:
        asking, processes = self._asking, self._processes()
        # A stopped process decides by itself, and might keep the question waiting.
        answer = Answer("silent") if any(each.stopped for each in processes) else self._engine.counters()
        gpu = self._gpu() if self._settings.gpu and self._memory.doubtful else None
        return Look(
            at=self._clock(),
            processes=processes,
            answer=answer.kind,
            busy=answer.busy or (asking and self._asking),
            mark=answer.mark,
            gpu_busy=gpu,
        )

    def _begin_run(self, look: Look) -> None:
        """Forget what an earlier start of the engine did. The watcher's own restart does not take the engine away."""
        run = (look.processes[0].pid, look.processes[0].start) if look.processes else None
        if run == self._run:
            return
        first, self._run = self._run is None, run
        self._admission, self._misses = self._new_admission(), 0
        self._admitted = first and run is not None and self._noted() == run
        if self._admitted:
            self._admission.problem = ""
            self._admission.passed.add(self._settings.base)

    def _on_hang(self, verdict: Verdict, now: float) -> None:
        if verdict.kind != "hangs":
            self._hung_at = None
            return
        if self._hung_at is None:
            self._hung_at = now
            self._admitted, self._admission = False, self._new_admission()
            self.report = replace(self.report, hangs=self.report.hangs + 1)
            say(f"{self._settings.unit} hangs: {verdict.reason}")
        late = now - self._hung_at >= RESTART_AFTER_S and now - self._restart_asked_at >= ASK_AGAIN_S
        if late and self.notice is None:
            self._restart_asked_at = now
            self.report = replace(self.report, restarts=self.report.restarts + 1)
            (self._runtime / RESTART).write_text(verdict.reason + "\n", encoding="utf-8")
            say(f"asks for a restart of {self._settings.unit}")

    def _ask(self, look: Look) -> None:
        """Ask for a token if the engine is not admitted yet, or has had no work for a while."""
        if self._asking:
            return
        if not self._admitted:
            self._in_background(self._admit)
        elif self._probe_is_due(look):
            run = self._run
            self._in_background(lambda: self._probe(run))
        elif self._admission.failed:
            self._in_background(self._admission.repeat)

    def _probe_is_due(self, look: Look) -> bool:
        silent_s = look.at - max(self._asked_at, self._back_at)
        if look.busy:
            return False
        if silent_s >= IDLE_PROBE_S and self._settings.engine == "vllm":
            return True  # Ollama would keep its model in memory because of us
        return silent_s >= DOUBT_PROBE_S and self._engine.asked_by_others(self._settings.proc)

    def _in_background(self, work: Callable[[], None]) -> None:
        self._asking, self._asked_at = True, self._clock()

        def ask() -> None:
            try:
                work()
            finally:
                self._asking = False

        self._start(ask)

    def _admit(self) -> None:
        admission, run = self._admission, self._run
        admission.proceed()
        if admission.problem or run != self._run or admission is not self._admission:
            return
        self._admitted, self._misses, self._back_at = True, 0, self._clock()
        for name, why in admission.failed.items():
            say(f"no token from {name}: {why}; the engine is admitted without it")
        (self._runtime / ADMITTED).write_text(f"{self._run}\n", encoding="utf-8")

    def _probe(self, run: Run | None) -> None:
        """Ask the start `run` of the engine for a token."""
        if self._settings.engine == "vllm":
            model, problem = self._settings.base, self._engine.token(self._settings.base)
        else:
            model = self._engine.in_memory()
            # Behind requests that fill all its places, ours waits as long as the gateway lets them take. Meanwhile the
            # judge looks whether the engine computes.
            problem = self._engine.token(model, self._settings.burning_s + TOKEN_S) if model else ""
        if run != self._run:
            return
        self._misses = self._misses + 1 if problem else 0
        if self._misses >= MISSES:
            say(f"no token from {model} twice: {problem}")
            self._admitted, self._admission = False, self._new_admission()

    def _new_admission(self) -> Admission:
        return Admission(self._settings.base, self._settings.adapters(), self._engine.token, self._clock)

    def _noted(self) -> Run | None:
        """Return the start of the engine that an earlier process of the watcher admitted."""
        try:
            pid, start = (self._runtime / ADMITTED).read_text(encoding="utf-8").strip("()\n").split(", ")
            return int(pid), int(start)
        except (OSError, ValueError):
            return None

    def _tell(self, verdict: Verdict, now: float) -> None:
        works = verdict.kind == "works" and self._admitted
        reason = verdict.reason or ("" if works else self._admission.problem)
        self.report = replace(
            self.report,
            looked_at=time.time(),
            works=works,
            reason=reason,
            share=share_after(now - self._back_at) if works else 100,
            passed=frozenset(self._admission.passed),
            failed=dict(self._admission.failed),
        )


def say(words: str) -> None:
    """Write one line into the journal."""
    print(words, file=sys.stderr, flush=True)


def main(settings_file: str) -> int:
    """Watch for ever. HAProxy gets its first answer after the first look."""
    settings = Settings.read(settings_file)
    processes = UnitProcesses(settings.unit, settings.proc)
    watch = Watch(settings, Engine.of_environment(settings.engine, settings.port), processes.look)
    said = ""
    watch.step()
    serve_agent(settings.agent_address, settings.agent_port, watch.agent_line)
    serve_metrics(settings.metrics_port, watch.metrics)
    notify(READY="1")
    while True:
        state = watch.agent_line().strip().partition("%")[0]
        if state.partition(" ")[0] != said.partition(" ")[0]:
            say(state)
        said = state
        notify(WATCHDOG="1", STATUS=status_line(watch.report, watch.notice))
        time.sleep(LOOK_EVERY_S)
        watch.step()
