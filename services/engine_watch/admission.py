"""Which models of a start of the engine have answered with a token. An engine is admitted once its base model has.

Each adapter that the host is listed for is asked too, and admission waits for their first answers, at most
`ADAPTERS_S`. An adapter that fails keeps neither the base model nor other adapters away: it is shown, and asked again.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

ADAPTERS_S = 60.0
AGAIN_S = 60.0
"""An adapter that failed is asked again after this time."""


@dataclass
class Admission:
    """The questions to one start of the engine. `ask` returns why there is no token, or an empty string."""

    base: str
    adapters: Iterable[str]
    ask: Callable[[str], str]
    clock: Callable[[], float]
    failed: dict[str, str] = field(default_factory=dict)
    """Adapters without a token, each with the reason."""
    passed: set[str] = field(default_factory=set)
    problem: str = "no token from the base model yet"
    """Why the engine is not admitted; empty once it is."""
    _again_at: float = 0.0

    def proceed(self) -> None:
        """Ask the base model, then all adapters; returns when the engine is admitted or the base model failed."""
        problem = self.ask(self.base)
        if problem:
            self.problem = f"no token from {self.base}: {problem}"
            return
        self.passed.add(self.base)
        end = self.clock() + ADAPTERS_S
        for name in self.adapters:
            if self.clock() >= end:
                self.failed[name] = "not asked yet: the others took too long"
            else:
                self._ask_adapter(name)
        self._again_at = self.clock() + AGAIN_S
        self.problem = ""

    def repeat(self) -> None:
        """Ask the adapters that failed once more, when it is time."""
        if self.failed and self.clock() >= self._again_at:
            for name in list(self.failed):
                self._ask_adapter(name)
            self._again_at = self.clock() + AGAIN_S

    def _ask_adapter(self, name: str) -> None:
        problem = self.ask(name)
        if problem:
            self.failed[name] = problem
        else:
            self.failed.pop(name, None)
            self.passed.add(name)
