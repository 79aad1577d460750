"""Looks at an engine, as case tables write them."""

from collections.abc import Sequence
from typing import Any

from services.engine_watch.judge import Look, Memory, Verdict, judge
from services.engine_watch.processes import Process

BURNING_S = 60.0


def process(pid: int = 2, **changed: Any) -> Process:
    """Return a process of the engine that sleeps and has used no processor time."""
    values = {"start": 100 + pid, "name": "VLLM::EngineCor", "state": "S", "cpu_s": 0.0, "wants_processor": False}
    return Process(pid=pid, **{**values, **changed})


def look(at: float, *, front: Sequence[Any] = ("S", 0.0), core: Sequence[Any] = ("S", 0.0), **changed: Any) -> Look:
    """Return a look at an engine with two processes, each as (state, processor seconds)."""
    processes = tuple(
        process(pid, name=name, state=state, cpu_s=cpu_s, wants_processor=state in "RD")
        for pid, name, (state, cpu_s) in ((1, "python3", front), (2, "VLLM::EngineCor", core))
    )
    return Look(**{"at": at, "processes": processes, "answer": "yes", **changed})


def judged(looks: Sequence[Look], burning_s: float = BURNING_S) -> list[Verdict]:
    """Return the verdict on each look."""
    memory, verdicts = Memory(), []
    for each in looks:
        memory, verdict = judge(memory, each, burning_s)
        verdicts.append(verdict)
    return verdicts
