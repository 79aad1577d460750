"""Waiting for an answer no longer than it may take, whatever the library that asks does about time.

A call that does not come back stays behind in a thread, which keeps no process alive: only for what may be asked again.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from core.errors import DeployError

Answer = TypeVar("Answer")


def answer_within(seconds: float, ask: Callable[[], Answer], *, where: str) -> Answer:
    """Return what `ask` returns. Raises what it raises, and DeployError when it takes longer."""
    answer: Future[Answer] = Future()

    def work() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        if answer.done():  # at the last moment, or with a TimeoutError of its own
            return answer.result()
        raise DeployError(f"no answer within {seconds:.0f} s", where=where, hint="check the network") from None
