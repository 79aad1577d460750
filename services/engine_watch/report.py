"""What the watcher knows, as a value, and in the words of HAProxy's agent check, Prometheus and systemd."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from services.engine_watch.notices import Notice

FIRST_SHARE = 25
"""Percent of its weight that a host gets when it comes back."""
SLOW_START_S = 15.0


@dataclass(frozen=True)
class Report:
    """The state at the last look. Times are seconds since 1970."""

    looked_at: float
    works: bool
    reason: str = ""
    """Why the engine may not have requests, or why it gets few."""
    share: int = 100
    """Percent of the usual weight."""
    hangs: int = 0
    restarts: int = 0
    passed: frozenset[str] = frozenset()
    """Models that gave a token since the engine's start."""
    failed: Mapping[str, str] = field(default_factory=dict)


def share_after(seconds: float) -> int:
    """Return the percent of its weight that a host gets this long after it came back, in steps of 5."""
    grown = FIRST_SHARE + (100 - FIRST_SHARE) * max(0.0, seconds) / SLOW_START_S
    return min(100, int(grown) // 5 * 5)


def agent_line(report: Report, notice: Notice | None) -> str:
    """Return the answer to HAProxy. `ready` takes back an earlier `drain`."""
    if notice is not None:
        return f"drain # {_one_line(notice.reason)}\n"
    if not report.works:
        return f"down # {_one_line(report.reason)}\n"
    return f"up ready {report.share}%\n"


def status_line(report: Report, notice: Notice | None) -> str:
    """Return the state in one line for people."""
    if notice is not None:
        words = f"drains: {notice.reason}"
    elif not report.works:
        words = f"keeps requests away: {report.reason}"
    else:
        words = "lets requests in" + (f"; {report.share} % of the usual" if report.share < 100 else "")  # noqa: PLR2004
    for name, why in report.failed.items():
        words += f"; no token from {name}: {why}"
    if report.hangs:
        words += f"; {report.hangs} hangs and {report.restarts} restarts"
    return _one_line(words)


def metrics(report: Report, notice: Notice | None) -> str:
    """Return the state as Prometheus reads it."""
    return "".join(f"{line}\n" for line in _metrics(report, notice))


def _metrics(report: Report, notice: Notice | None) -> Iterator[str]:
    yield from _gauge("up", "Whether the engine may have requests.", int(report.works and notice is None))
    yield from _gauge("last_look_timestamp_seconds", "When the watcher last looked.", round(report.looked_at, 3))
    yield from _gauge("weight_percent", "Share of its weight during a slow start.", report.share)
    yield from _gauge("drain", "Whether the host drains.", int(notice is not None))
    deadline = notice.deadline if notice else 0
    yield from _gauge("notice_deadline_timestamp_seconds", "When the cloud takes the machine back, 0: no.", deadline)
    yield "# HELP llm_watch_state_info Why the engine has the state that it has."
    yield "# TYPE llm_watch_state_info gauge"
    state = "drain" if notice else "up" if report.works else "down"
    reason = _label(notice.reason if notice else report.reason)
    yield f'llm_watch_state_info{{state="{state}",reason="{reason}"}} 1'
    yield from _counter("hangs_total", "Hangs of the engine since the watcher's start.", report.hangs)
    yield from _counter("restarts_total", "Restarts that the watcher asked for.", report.restarts)
    yield "# HELP llm_watch_model_ready Whether the model gave a token since the engine's start."
    yield "# TYPE llm_watch_model_ready gauge"
    for name in sorted({*report.passed, *report.failed}):
        yield f'llm_watch_model_ready{{model="{_label(name)}"}} {int(name not in report.failed)}'


def _gauge(name: str, help_text: str, value: float) -> Iterator[str]:
    yield from (f"# HELP llm_watch_{name} {help_text}", f"# TYPE llm_watch_{name} gauge", f"llm_watch_{name} {value}")


def _counter(name: str, help_text: str, value: int) -> Iterator[str]:
    yield from (f"# HELP llm_watch_{name} {help_text}", f"# TYPE llm_watch_{name} counter", f"llm_watch_{name} {value}")


def _one_line(text: str) -> str:
    """Return printable text without a line's end, a second `#`, or a comma, which would split HAProxy's statistics."""
    return " ".join(re.sub(r"[^!-\"$-+\--~]+", " ", text).split())[:160]


def _label(text: str) -> str:
    return _one_line(text).replace("\\", "\\\\").replace('"', '\\"')
