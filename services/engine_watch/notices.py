"""Why this host shall get no new requests although its engine works: files in /run/llm-notice.

`drain`: this host's own tools stop the engine. `notice.json`: the cloud takes the machine back (services/spot_notice).
"""

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

DRAIN = "drain"
NOTICE = "notice.json"


@dataclass(frozen=True)
class Notice:
    """Why to drain, and when the machine ends (seconds since 1970; 0: unknown)."""

    reason: str
    source: str
    deadline: float = 0.0


def current(folder: Path) -> Notice | None:
    """Return the reason to drain, if there is one. An unreadable notice is one too: better drained than lost."""
    try:
        text = (folder / NOTICE).read_text(encoding="utf-8")
    except FileNotFoundError:
        text = None
    except (OSError, ValueError):  # ValueError: bytes that are not UTF-8
        text = "{}"
    if text is not None:
        return _of(text)
    if (folder / DRAIN).exists():
        return Notice("the engine is about to stop", "host")
    return None


def _of(text: str) -> Notice:
    try:
        seen = json.loads(text)
        source, kind, deadline = str(seen["source"]), str(seen["kind"]), float(seen.get("deadline") or 0)
        end = f" at {datetime.fromtimestamp(deadline, tz=timezone.utc):%H:%M:%S UTC}" if deadline else ""
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError):
        return Notice("a notice that cannot be read", "unknown")
    return Notice(f"{source} takes the machine back{end}: {kind}", source, deadline)
