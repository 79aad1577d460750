"""The result of one preflight check: ok, warning or error."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    level: Literal["ok", "warning", "error"]
    about: str
    """The subject of the check, e.g. `quota L-DB2E81BA`."""

    what: str
    hint: str = ""

    def __str__(self) -> str:
        line = f"{self.about}: {self.what}"
        return f"{line}; {self.hint}" if self.hint else line
