"""What was seen when a cloud was looked at before anything is made there: fine, doubtful, or in the way."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Literal["ok", "warning", "error"]
    about: str
    """What it is about, e.g. `quota L-DB2E81BA`."""

    what: str
    hint: str = ""

    def __str__(self) -> str:
        line = f"{self.about}: {self.what}"
        return f"{line}; {self.hint}" if self.hint else line
