"""Waiting for hosts of a cloud that are about to end, or that were just started."""

import time
from collections.abc import Callable

from core.errors import DeployError
from core.waiting.condition import wait_until
from infra.clouds.resources.kinds import END_S, POLL_S

START_S = 180.0
"""How long the cloud may take to say whether it has a machine for a start."""


def wait_for_ends(
    ending: Callable[[], list[str]],
    *,
    cloud: str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until `ending` returns no host that is about to stop or end, each as `NAME is STATE`.

    Raises DeployError with the remaining hosts if that takes too long.
    """
    left: list[str] = []

    def quiet() -> bool | None:
        left[:] = ending()
        return None if left else True

    wait_until(
        quiet,
        deadline_s=END_S,
        late=lambda: DeployError(
            f"{', '.join(left)} after {END_S:.0f} s", where=cloud, hint="run the command again later"
        ),
        pause_s=POLL_S,
        clock=clock,
        sleep=sleep,
    )


def wait_for_start(
    failures: Callable[[], list[str] | None],
    *,
    late: DeployError,
    where: str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until `failures` returns a list: empty if all hosts run, else why some do not. None: not known yet.

    Raises DeployError with the failures, or `late` after START_S.
    """
    found = wait_until(failures, deadline_s=START_S, late=lambda: late, pause_s=POLL_S, clock=clock, sleep=sleep)
    if found:
        raise DeployError("; ".join(found), where=where)
