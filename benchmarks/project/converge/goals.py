"""Goals: how much faster than the other tools ours must be."""

from collections.abc import Mapping
from dataclasses import dataclass

OURS = "llm-deploy"


@dataclass(frozen=True, kw_only=True)
class Goal:
    """In this scene, `tool` must take at least `times` as long as ours."""

    scene: str
    tool: str
    times: float


GOALS = (
    Goal(scene="nothing to change", tool="pyinfra", times=5),
    Goal(scene="nothing to change", tool="pyinfra, TCP_NODELAY", times=2),
    Goal(scene="nothing to change", tool="Ansible", times=20),
    Goal(scene="nothing to change, 100 ms", tool="pyinfra", times=8),
    Goal(scene="nothing to change, 100 ms", tool="pyinfra, TCP_NODELAY", times=2),
)


def verdicts(table: Mapping[str, Mapping[str, float]]) -> list[tuple[bool, str]]:
    """Return for each goal of a measured scene whether `table` (seconds by scene and tool) meets it, and a sentence."""
    judged = []
    for goal in (goal for goal in GOALS if goal.scene in table):
        times = table[goal.scene][goal.tool] / table[goal.scene][OURS]
        words = f"{goal.scene}: {times:.1f} times as fast as {goal.tool} (goal: {goal.times:.0f})"
        judged.append((times >= goal.times, words))
    return judged
