"""A user's error is one line with the exit status of its class; a bug keeps its traceback."""

import pytest

from core.errors import CheckError, ConfigError, DeployError, HostError, UsageError, run_cli, when_interrupted
from core.interrupts import Terminated

ENDS: dict[str, tuple[BaseException, int, str]] = {
    "a failed run": (DeployError("stopped"), 1, "error: stopped"),
    "a file": (ConfigError("is empty", where="a.yaml", hint="write it"), 2, "error: a.yaml: is empty; write it"),
    "the command line": (UsageError("no such host", where="--host"), 2, "error: --host: no such host"),
    "a host": (HostError("is down", where="gpu1", detail="last words"), 1, "error: gpu1: is down\nlast words"),
    "a check": (CheckError("is slow", hint="look"), 1, "error: is slow; look"),
    "SIGTERM": (Terminated(), 143, "error: stopped by SIGTERM; run the same command again"),
    "Ctrl-C": (KeyboardInterrupt(), 130, "error: interrupted; run the same command again"),
}


@pytest.mark.parametrize(("error", "status", "line"), ENDS.values(), ids=ENDS.keys())
def test_each_error_has_its_status_and_line(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C once advised `make down` after every command, even after `status`."""

    def command() -> int:
        raise error

    assert run_cli(command) == status
    assert capsys.readouterr() == ("", f"{line}\n")


def test_ctrl_c_names_the_command_that_undoes(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        with when_interrupted("`make down` to undo"):
            raise KeyboardInterrupt

    assert run_cli(command) == 130
    assert capsys.readouterr().err == "error: interrupted; run the same command again, or `make down` to undo\n"


def test_sigterm_names_the_command_that_undoes(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        with when_interrupted("`make down` to undo"):
            raise Terminated

    assert run_cli(command) == 143
    assert capsys.readouterr().err.endswith("; run the same command again, or `make down` to undo\n")


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_cli(lambda: 1 // 0)
