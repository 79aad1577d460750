#!/usr/bin/env python3
"""Print what providers cost, from the ledger of this host, as JSON; amounts in nano-USD. Changes nothing.

spend-report LEDGER
"""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SUMS = """
SELECT day, provider, client, model, requests, {failed} AS failed, spent, unsettled, input_tokens, output_tokens
FROM totals {failures} ORDER BY day, provider, client, model
"""
COUNTED = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'failures')"
"""The service makes that table at its start; a ledger of an earlier release has none."""


def report(path: str) -> dict[str, Any]:
    """Return the sums by day, provider, client and model; none if there is no ledger yet."""
    if not Path(path).exists():
        return {"rows": []}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
        db.row_factory = sqlite3.Row
        (counted,) = db.execute(COUNTED).fetchone()
        failed = "COALESCE(failed, 0)" if counted else "0"
        failures = "LEFT JOIN failures USING (day, provider, client, model)" if counted else ""
        return {"rows": [dict(row) for row in db.execute(SUMS.format(failed=failed, failures=failures))]}


def main(path: str) -> int:
    """Print the report; return the exit status."""
    print(json.dumps(report(path)))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
