"""Time to the first line of commands: what is measured, and what the table shows."""

import os
import sys

import pytest

from benchmarks.project.start import (
    COMMANDS,
    Command,
    Times,
    computed_s,
    import_ms_after_first_line,
    imports_after,
    result,
    run,
    table,
)
from core.errors import CheckError
from tools.make_variables import USES, main

SLOW_END = "import time; print('words', flush=True); time.sleep(0.3); print('more')"


def test_the_first_line_is_timed_apart_from_the_end() -> None:
    first_line, end = run([sys.executable, "-c", SLOW_END], os.environ)
    assert end - first_line >= 300


def test_words_on_stderr_count() -> None:
    first_line, end = run([sys.executable, "-c", "import sys; sys.exit('error: no')"], os.environ)
    assert 0 < first_line <= end


def test_a_command_that_prints_nothing_is_an_error() -> None:
    with pytest.raises(CheckError, match="-c pass: printed nothing"):
        run([sys.executable, "-c", "pass"], os.environ)


@pytest.mark.parametrize(
    ("lines", "ms"),
    [
        ([], 0),
        (["import time:  self [us] | cumulative | imported package", "import time:      9000 |       9000 | a"], 0),
        (["import time:      9000 |       9000 | a", "words"], 0),
        (["words", "import time:      1500 |       9000 | a", "more", "import time:       500 |        500 |   b"], 2),
        (["words", "import time: self [us] | cumulative | imported package"], 0),
    ],
)
def test_imports_below_the_first_line_are_summed(lines: list[str], ms: float) -> None:
    assert import_ms_after_first_line(lines) == ms


def test_a_real_late_import_is_found() -> None:
    late = "import sys; print('words', file=sys.stderr, flush=True); import xml.dom.minidom"
    early = "import sys, xml.dom.minidom; print('words', file=sys.stderr, flush=True)"
    assert imports_after([sys.executable, "-c", late], os.environ) > 0
    assert imports_after([sys.executable, "-c", early], os.environ) == 0


def test_the_table_marks_a_missed_goal() -> None:
    times = {
        Command("make help", 100): Times([90, 300, 120], [91, 301, 121]),
        Command("make up", 50): Times([60], [70]),
    }
    assert table(times).splitlines() == [
        "milliseconds   goal    min median    end  imports after",
        "make help       100     90    120    121              0",
        "make up          50     60     60     70              0 !",
    ]
    assert result(times)["make up"] == {
        "goal_ms": 50, "first_line_ms": [60], "end_ms": [70], "imports_after_ms": 0
    }  # fmt: skip


def test_computed_seconds_do_not_count_waiting() -> None:
    assert 0 < computed_s([sys.executable, "-c", "import time; time.sleep(0.5)"]) < 0.5


@pytest.mark.parametrize("command", [command.typed for command in COMMANDS if command.typed.startswith("make ")])
def test_every_command_names_a_target_and_nothing_that_exists(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    target, *variables = command.split()[1:]
    main([target, *variables], {})
    stops = bool(capsys.readouterr().out.strip())
    assert stops or target == "help" or any("no-such" in word for word in variables)
    assert target in USES or stops
