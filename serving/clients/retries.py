"""When a request is sent again.

The SDKs' own retries are off. They wait exactly as long as Retry-After says, so clients that were refused together
return together, and Anthropic's SDK waits for hours if a server tells it to. Ours add jitter and an upper limit.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from serving.clients.answer import LLMError


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often and when a request is sent again, if its answer has not begun."""

    count: int = 2
    longest_wait_s: float = 60.0
    """A Retry-After beyond this is reported as an error at once."""
    first_wait_s: float = 0.5
    longest_guess_s: float = 8.0
    jitter: Callable[[], float] = random.random
    sleep: Callable[[float], object] = time.sleep

    def wait_s(self, error: LLMError, retried: int) -> float | None:
        """Return the seconds to wait before the next try; None if there is none.

        Never less than Retry-After, and up to a quarter more. Without Retry-After, half to all of a doubling time.
        """
        if not error.retry or retried >= self.count:
            return None
        if error.retry_after_s is None:
            return min(self.longest_guess_s, self.first_wait_s * 2.0**retried) * (0.5 + self.jitter() / 2)
        return None if error.retry_after_s > self.longest_wait_s else error.retry_after_s * (1 + self.jitter() / 4)
