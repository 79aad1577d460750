"""The tour: its order, where it stops, what it adds up, and how Ctrl-C ends it. Its own commands are not run."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import DeployError, run_cli
from core.paths import CHECKOUT
from core.runs import RUN_VARIABLE
from tools import demo
from tools.demo import Stop

RUN = "20261121T120000.000Z"
PROVISION = {
    "hosts": [
        {"change_seconds": {"venv:/var/lib/llm/venvs/vllm": 40.5, "packages:base": 9.5, "file:/etc/hosts": 0.1}},
        {"change_seconds": {"unit:vllm.service": 30.0, "unit:haproxy.service": 0.7}},
        {"change_seconds": {}},
    ]
}


def stop(code: str, title: str = "A stop") -> Stop:
    """Return a stop that runs Python code."""
    return Stop(title, "make something", (sys.executable, "-I", "-S", "-c", code))


@pytest.mark.parametrize(
    ("keep", "reboot", "typed"),
    [
        pytest.param(False, False, ["up", "provision", "smoke", "plan", "down"], id="as it is"),
        pytest.param(True, False, ["up", "provision", "smoke", "plan"], id="keep"),
        pytest.param(False, True, ["up", "provision", "smoke", "plan", "reboot", "smoke", "down"], id="reboot"),
        pytest.param(True, True, ["up", "provision", "smoke", "plan", "reboot", "smoke"], id="keep and reboot"),
    ],
)
def test_the_tour_goes_in_order(keep: bool, reboot: bool, typed: list[str]) -> None:
    stops = demo.tour("spare", keep=keep, reboot=reboot)
    assert [each.typed for each in stops] == [f"make {target} STACK=spare" for target in typed]


@pytest.mark.parametrize("stop", demo.tour("spare", keep=False, reboot=True), ids=lambda stop: stop.typed)
def test_what_runs_is_what_is_shown(stop: Stop) -> None:
    """`make smoke` was once shown while another program ran, which asks no host about its GPUs."""
    make = [*shlex.split(stop.typed), "-n", "-o", ".venv/.ready"]
    made = subprocess.run(make, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.strip()
    assert shlex.join(stop.argv).replace(f"{CHECKOUT}/", "") == made


def test_each_stop_is_announced_timed_and_given_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = f"import os; open({str(tmp_path / 'runs')!r}, 'a').write(os.environ['{RUN_VARIABLE}'] + ' ')"
    seconds = demo.walk("spare", [stop(note, "First"), stop(note, "Second")], {RUN_VARIABLE: RUN})

    assert (tmp_path / "runs").read_text() == f"{RUN} {RUN} "
    assert len(seconds) == 2
    assert min(seconds) > 0
    said = capsys.readouterr().err
    assert said.splitlines()[1::2] == ["━━ 1/2  First   $ make something", "━━ 2/2  Second   $ make something"]


def test_the_tour_ends_at_the_first_stop_that_fails(tmp_path: Path) -> None:
    later = tmp_path / "later"
    stops = [stop("pass"), stop("raise SystemExit(3)"), stop(f"open({str(later)!r}, 'w')")]
    with pytest.raises(DeployError) as failed:
        demo.walk("spare", stops, {})

    assert failed.value.where == "demo, stop 2 of 3"
    assert failed.value.what == "make something ended with status 3"
    assert "see `make logs STACK=spare`" in failed.value.hint
    assert "`make down STACK=spare`" in failed.value.hint
    assert not later.exists()


def test_ctrl_c_ends_the_tour_once_the_running_stop_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A stop that took Ctrl-C for its own and ended well was once followed by the next one."""
    tidied, later = tmp_path / "tidied", tmp_path / "later"
    interrupted = (
        "import os, signal, time\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"  # the terminal would tell both
        "time.sleep(0.3)\n"  # what it takes to tidy up: the tour must still be there afterwards
        f"open({str(tidied)!r}, 'w')\n"
    )
    stops = [stop(interrupted), stop(f"open({str(later)!r}, 'w')")]
    monkeypatch.setattr(demo, "tour", lambda *_arguments, **_options: stops)

    assert run_cli(lambda: demo.main([])) == 130
    assert tidied.exists()
    assert not later.exists()
    assert capfd.readouterr().err.splitlines()[-1].endswith(", or `make down STACK=local` to undo")


def test_waiting_is_installing_packages_and_loading_the_model(tmp_path: Path) -> None:
    (tmp_path / "provision.json").write_text(json.dumps(PROVISION))
    assert demo.waited_seconds(tmp_path / "provision.json") == 80.0


@pytest.mark.parametrize(
    ("arguments", "end", "stack"),
    [
        ([], "removed", "local"),
        (["--keep"], "kept", "local"),
        (["--engine", "ollama"], "removed", "local-ollama"),
        (["--engine", "ollama", "--stack", "spare"], "removed", "spare"),
    ],
)
def test_the_tour_says_what_comes_and_what_it_cost(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    arguments: list[str],
    end: str,
    stack: str,
) -> None:
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path))
    monkeypatch.setenv(RUN_VARIABLE, RUN)
    monkeypatch.setattr(demo, "tour", lambda *_arguments, **_options: [stop("pass", "First"), stop("pass", "Second")])
    monkeypatch.setattr(demo, "walk", lambda _stack, _stops, _environment: [100.0, 5.5])
    (tmp_path / stack / RUN).mkdir(parents=True)
    (tmp_path / stack / RUN / "provision.json").write_text(json.dumps(PROVISION))

    assert demo.main(arguments) == 0
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[0] == f"demo: one machine made, provisioned, proved and {end}; results in runs/{stack}/{RUN}"
    assert lines[-1] == "    105.5 s  in all: 80.0 s of package installs and model load, 25.5 s our own"
