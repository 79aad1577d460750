"""A time limit for a call into a library that has none.

A call that never returns stays in a daemon thread, so use this only for reads.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from core.errors import DeployError

Answer = TypeVar("Answer")


def answer_within(seconds: float, ask: Callable[[], Answer], *, where: str) -> Answer:
    """Return what `ask` returns. Raises what `ask` raises, and DeployError after `seconds`."""
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
        if answer.done():  # at the last moment, or `ask` itself raised TimeoutError
            return answer.result()
        raise DeployError(f"no answer within {seconds:.0f} s", where=where, hint="check the network") from None
