"""How often a unit died after its start, and whether to wait for its next start. Does not query systemd."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

DEATHS_MAX = 2


class Deaths:
    """The deaths of one unit since its job was given.

    `passing` matches a cause that may pass without help. The group of `left_out` names an item that ended the unit and
    that its next starts leave out: the first death by each name does not count.
    """

    def __init__(self, passing: str, left_out: str) -> None:
        self._passing = passing
        self._left_out = left_out
        self._restarts = 0
        self._names: set[str] = set()
        self.number = 0
        self.are_too_many = False

    def begin(self, restarts: int) -> None:
        """Count by systemd's NRestarts, which `reset-failed` sets to 0."""
        self._restarts = restarts

    def look(self, restarts: int, journal: Callable[[], str]) -> bool:
        """Count the deaths since the last look; return whether the unit now leaves out more than before."""
        died, self._restarts = restarts - self._restarts, restarts
        if died <= 0:
            return False
        self.number += died
        text, known = journal(), len(self._names)
        if self._left_out:
            self._names.update(re.findall(self._left_out, text))
        may_pass = bool(self._passing and re.search(self._passing, text))
        self.are_too_many = self.number - len(self._names) >= DEATHS_MAX and not may_pass
        return len(self._names) > known
