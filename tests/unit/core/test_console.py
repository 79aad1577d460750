"""Messages go to stderr, and each step prints its duration."""

import ast
import threading
from types import SimpleNamespace

import pytest

from core import console
from core.paths import CHECKOUT


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that advances 2.5 s with each reading."""
    times = iter([100.0, 102.5])
    monkeypatch.setattr("core.console.time", SimpleNamespace(monotonic=lambda: next(times)))


def test_a_step_prints_its_title_first_and_its_duration_last(capsys: pytest.CaptureFixture[str]) -> None:
    with console.step("connect"):
        assert capsys.readouterr().err == "→ connect\n"
    assert capsys.readouterr() == ("", "✓ connect: 2.5 s\n")


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_failing_step_prints_its_duration_and_raises_its_error(
    capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    with pytest.raises(type(error)) as seen, console.step("connect"):
        raise error
    assert seen.value is error
    assert capsys.readouterr() == ("", "→ connect\n✗ connect: stopped after 2.5 s\n")


FOREIGN = {
    "clears the screen": ("\x1b[2J", r"\x1b[2J"),
    "renames the window": ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
    "hides the line before": ("bad\rgood", r"bad\rgood"),
    "C1": ("\x9b2J", r"\x9b2J"),
    "backspaces": ("rm\x08\x08", r"rm\x08\x08"),
    "changes the text direction": ("a\u202eb", r"a\u202eb"),
    "not UTF-8": ("a\udcff", r"a\udcff"),
    "NUL and DEL": ("\x00\x7f", r"\x00\x7f"),
    "normal text": ("→ ✓ ä 漢\ttab\nline", "→ ✓ ä 漢\ttab\nline"),
    "Windows lines": ("a\r\nb", "a\nb"),
}


@pytest.mark.parametrize(("text", "shown"), FOREIGN.values(), ids=FOREIGN.keys())
def test_control_characters_are_shown_as_escapes(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An escape sequence in a host's journal or an adapter's name once reached the terminal."""
    console.say(text)
    console.show(text)
    assert capsys.readouterr() == (f"{shown}\n", f"{shown}\n")


def test_only_known_modules_print_without_console() -> None:
    """These modules print JSON, paths of this project or a page that it ships."""
    folders = ("core", "infra", "provisioning", "serving")
    on_hosts = ("provisioning/programs/", "provisioning/converge/agent/", "provisioning/offline/installer/")
    found = set()
    for path in (file for folder in folders for file in (CHECKOUT / folder).rglob("*.py")):
        name = str(path.relative_to(CHECKOUT))
        if not name.startswith(on_hosts):
            calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
            found |= {name for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"}
    assert found == {
        "core/console.py",
        "infra/lifecycle/commands.py",  # for the shell's eval
        "infra/clouds/local/machine.py",  # JSON
        "infra/lifecycle/preview/price_table.py",
        "provisioning/adapters/listing.py",  # JSON
        "provisioning/existing/host_key.py",  # a question
        "provisioning/operate/spend.py",  # JSON
        "provisioning/operate/status.py",  # JSON
        "provisioning/operate/top/command.py",  # JSON
        "serving/ask.py",  # the answer, piece by piece
        "serving/smoke/run.py",  # JSON
    }


def test_the_next_commands_are_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.next_command("make smoke", "make down")
    assert capsys.readouterr() == ("", "next: make smoke   or   make down\n")


def test_a_long_step_says_that_it_runs_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make up` was silent for 22 s."""
    said: list[str] = []
    twice = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        if sum(each.startswith("… connect: runs (") for each in said) == 2:
            twice.set()

    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: 100.0))
    monkeypatch.setattr(console, "STILL_EVERY_S", 0.01)
    monkeypatch.setattr(console, "say", say)
    with console.step("connect"):
        assert twice.wait(30)
    assert said[0] == "→ connect"
    assert not any(thread.name == "runs: connect" for thread in threading.enumerate())
    assert said[-1].startswith("✓ connect: ")


def test_of_nested_steps_only_the_inner_one_says_that_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The build of the Pulumi CLI and the `up` around it both printed a line every 10 s."""
    said: list[str] = []
    inner_runs, outer_runs = threading.Event(), threading.Event()

    def say(text: str) -> None:
        said.append(text)
        if said.count("… inner: runs (0 s)") == 5:
            inner_runs.set()
        if "✓ inner: 0.0 s" in said and text.startswith("… outer: runs ("):
            outer_runs.set()

    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: 100.0))
    monkeypatch.setattr(console, "STILL_EVERY_S", 0.01)
    monkeypatch.setattr(console, "say", say)
    with console.step("outer"):
        with console.step("inner"):
            assert inner_runs.wait(30)
        assert outer_runs.wait(30)
    within = said[said.index("→ inner") + 1 : said.index("✓ inner: 0.0 s")]
    # One may have been on its way when the inner step began.
    assert sum(each.startswith("… outer") for each in within) <= 1
