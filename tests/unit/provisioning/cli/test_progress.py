"""Events of several hosts become separate lines, on a terminal and in a log."""

import io

import pytest

from core.errors import HostError
from provisioning.cli.progress import (
    CLEAR_LINE,
    DETAIL_LINES,
    LOG_EVERY_S,
    ProgressPrinter,
    counts,
    error_line,
    failure_detail,
    outcome_line,
    plan_text,
    progress_line,
)
from provisioning.converge.result import HostResult, Outcome, Progress

CHANGED = Outcome(id="file:/etc/a", status="changed", changes=("create",), diff="--- a\n+++ b\n+line\n")
FAILED = Outcome(id="venv:/v", status="failed", error="no space left", seconds=3.21)


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        pytest.param(CHANGED, "+ file:/etc/a: create", id="changed"),
        pytest.param(FAILED, "✗ venv:/v: no space left (3.2 s)", id="failed, with its time"),
        pytest.param(
            Outcome(id="unit:x", status="skipped", error="depends on venv:/v"),
            "- unit:x: depends on venv:/v",
            id="skipped",
        ),
    ],
)
def test_an_outcome_is_one_line(outcome: Outcome, line: str) -> None:
    assert outcome_line(outcome) == line


def test_a_long_list_of_changes_is_cut() -> None:
    line = outcome_line(Outcome(id="tree:/m", status="changed", changes=("model.safetensors",) * 50))
    assert len(line) < 130
    assert line.endswith("…")


def test_progress_shows_a_share_where_it_is_known() -> None:
    assert progress_line(Progress(id="download:/f", text="2 of 5 GiB", fraction=0.4)) == "… download:/f: 40% 2 of 5 GiB"
    assert progress_line(Progress(id="venv:/v", text="Resolving")) == "… venv:/v: Resolving"
    assert progress_line(Progress(id="command:uv", text="")) == "… command:uv: runs"  # it has printed nothing


def test_each_line_of_a_log_starts_with_its_host() -> None:
    out = io.StringIO()
    progress = ProgressPrinter(["a", "long"], out=out)
    progress.event("a", CHANGED)
    progress.event("long", Outcome(id="unit:x", status="ok"))
    progress.say("long", "first\nsecond")
    assert out.getvalue() == "a     + file:/etc/a: create\nlong  first\nlong  second\n"


def test_log_has_a_line_for_a_long_step_now_and_then() -> None:
    out, now = io.StringIO(), 0.0
    progress = ProgressPrinter(["a"], out=out, clock=lambda: now)
    for second in range(int(2 * LOG_EVERY_S) + 1):
        now = float(second)
        progress.event("a", Progress(id="venv:/v", text="building"))
    assert out.getvalue() == "a  … venv:/v: building (15 s)\na  … venv:/v: building (30 s)\n"


def test_terminal_shows_current_steps_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = Terminal()
    progress = ProgressPrinter(["a", "b"], out=out)
    progress.event("a", Progress(id="venv:/v", text="Downloading torch"))
    progress.event("b", Progress(id="packages:base", text="Unpacking"))
    last = out.getvalue().rpartition(CLEAR_LINE)[2]
    assert last.startswith("a: … venv:/v: Downloading torch")
    assert len(last) < 40
    progress.event("a", CHANGED)
    assert f"{CLEAR_LINE}a  + file:/etc/a: create\n" in out.getvalue()
    assert out.getvalue().endswith("b: … packages:base: Unpacking (0 s)")


def test_bottom_line_is_cleared_at_the_end_and_late_events_are_ignored() -> None:
    out = Terminal()
    with ProgressPrinter(["a"], out=out) as progress:
        progress.event("a", Progress(id="venv:/v", text="building"))
    progress.event("a", CHANGED)
    assert out.getvalue().endswith(CLEAR_LINE)


def test_end_of_long_output_is_shown() -> None:
    lines = [f"line {number}" for number in range(50)]
    shown = failure_detail(Outcome(id="x", status="failed", detail="\n".join(lines))).splitlines()
    assert shown[0].strip() == f"… {50 - DETAIL_LINES} earlier lines"
    assert shown[-1].strip() == "line 49"


def test_a_plan_shows_changes_with_their_diffs() -> None:
    result = HostResult(host="a", ok=True, changed=(CHANGED,), unchanged=(Outcome(id="user:llm", status="ok"),))
    assert plan_text(result).splitlines() == [
        "a: 1 to change, 1 unchanged",
        "  + file:/etc/a: create",
        "      --- a",
        "      +++ b",
        "      +line",
    ]


NEW = Outcome(
    id="file:/n", status="changed", changes=("create",), diff="--- /dev/null\n+++ /n\n@@ -0,0 +1,2 @@\n+a\n++b\n"
)


@pytest.mark.parametrize(
    ("full", "lines"),
    [
        pytest.param(False, ["  + file:/n: create, 2 lines"], id="in short"),
        pytest.param(True, ["  + file:/n: create", *(f"      {line}" for line in NEW.diff.splitlines())], id="full"),
    ],
)
def test_a_new_file_is_shown_by_its_length_unless_all_is_asked_for(full: bool, lines: list[str]) -> None:
    """Once the first plan of a host had 1,980 lines."""
    assert plan_text(HostResult(host="a", ok=True, changed=(NEW,)), full=full).splitlines()[1:] == lines


def test_counts_leave_out_what_did_not_happen() -> None:
    assert counts(HostResult(host="a", ok=True, seconds=0.2)) == "✓ 0 changed, 0 unchanged in 0.2 s, 1 round trip"
    bad = HostResult(host="a", ok=False, failed=(FAILED,), skipped=(FAILED,), seconds=3, round_trips=2)
    assert counts(bad) == "✗ 0 changed, 0 unchanged, 1 failed, 1 skipped in 3.0 s, 2 round trips"


def test_a_hosts_error_does_not_repeat_its_name() -> None:
    assert error_line(HostError("no answer", where="a (root@a:22)", hint="is it on?")) == "✗ no answer; is it on?"
