"""Waiting until hosts end or start, without a cloud."""

import ast

import pytest

from core.errors import DeployError
from core.paths import CHECKOUT
from infra.clouds.host_states import START_S, wait_for_ends, wait_for_start
from infra.clouds.resources.kinds import END_S


class Clock:
    """A clock that advances only by sleeping."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_names_a_host_that_never_ends_and_its_last_state() -> None:
    clock = Clock()
    states = iter(["stopping", *["shutting-down"] * 1000])

    with pytest.raises(DeployError, match=f"i-1 is shutting-down after {END_S:.0f} s; run the command again later"):
        wait_for_ends(lambda: [f"i-1 is {next(states)}"], cloud="A cloud", clock=clock, sleep=clock.sleep)
    assert clock.now_s >= END_S


def test_reports_every_reason_of_a_failed_start_and_a_start_that_never_ends() -> None:
    clock, late = Clock(), DeployError("no answer yet")
    answers = iter([None, None, ["no stock (i-1)", "no key (i-2)"]])

    with pytest.raises(DeployError, match=r"a start: no stock \(i-1\); no key \(i-2\)"):
        wait_for_start(lambda: next(answers), late=late, where="a start", clock=clock, sleep=clock.sleep)
    with pytest.raises(DeployError, match="no answer yet"):
        wait_for_start(lambda: None, late=late, where="a start", clock=clock, sleep=clock.sleep)
    assert clock.now_s >= START_S


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_no_cloud_has_its_own_waiting_loop(cloud: str) -> None:
    """Each cloud once had a copy of the loop, so each change of its text or timeout had to be made twice."""
    tree = ast.parse((CHECKOUT / "infra" / "clouds" / cloud / "host_starts.py").read_text())

    assert "wait_until" not in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
