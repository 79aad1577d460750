"""Words for a person go to stderr, and each step says how long it took."""

from types import SimpleNamespace

import pytest

from core import console


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is 2.5 s further each time that it is read."""
    times = iter([100.0, 102.5])
    monkeypatch.setattr("core.console.time", SimpleNamespace(monotonic=lambda: next(times)))


def test_a_step_is_announced_before_it_starts_and_timed_after_it(capsys: pytest.CaptureFixture[str]) -> None:
    with console.step("connect"):
        assert capsys.readouterr().err == "→ connect\n"
    assert capsys.readouterr() == ("", "✓ connect: 2.5 s\n")


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_step_that_fails_is_timed_and_its_error_goes_on(
    capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    with pytest.raises(type(error)) as seen, console.step("connect"):
        raise error
    assert seen.value is error
    assert capsys.readouterr() == ("", "→ connect\n✗ connect: stopped after 2.5 s\n")


def test_the_next_commands_are_named_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.next_command("make smoke", "make down")
    assert capsys.readouterr() == ("", "next: make smoke   or   make down\n")
