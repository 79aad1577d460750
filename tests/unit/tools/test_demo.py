"""The tour: its order, its end at a failure or Ctrl-C, and its times. The real commands do not run."""

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
        {
            "change_seconds": {
                "venv:/var/lib/llm/venvs/vllm": 40.5,
                "packages:base": 6.5,
                "command:uv": 3.0,
                "file:/etc/hosts": 0.1,
            }
        },
        {"change_seconds": {"unit:vllm.service": 30.0, "unit:haproxy.service": 0.7}},
        {"change_seconds": {}},
    ]
}
ENDPOINT = {
    "url": "https://192.0.2.7",
    "ca": "/a checkout/.state/ca/ca.pem",
    "models": ["tiny-llama", "contract", "contract@1"],
    "adapters": ["contract"],
    "keys_file": "/a checkout/.state/stacks/local/keys.json",
    "client": "batch-1",
}
A_DEMOS, AN_EARLIER_DEMOS, SOMEBODYS = "20261121T110000.000Z", "20261120T110000.000Z", "20261121T113000.000Z"
"""Earlier runs than RUN, by their time."""


def stop(code: str, title: str = "A stop") -> Stop:
    """Return a stop that runs Python code."""
    return Stop(title, "make something", (sys.executable, "-I", "-S", "-c", code))


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout without stacks and results; the demo runs as RUN."""
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path / "results"))
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv(RUN_VARIABLE, RUN)
    return tmp_path


def write(path: Path, content: object) -> None:
    """Write a file of a stack or of a run as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("keep", "reboot", "typed"),
    [
        pytest.param(False, False, ["up", "provision", "smoke", "plan", "down"], id="as it is"),
        pytest.param(True, False, ["up", "provision", "smoke", "plan"], id="keep"),
        pytest.param(False, True, ["up", "provision", "smoke", "plan", "reboot", "smoke", "down"], id="reboot"),
        pytest.param(True, True, ["up", "provision", "smoke", "plan", "reboot", "smoke"], id="keep and reboot"),
    ],
)
def test_the_stops_are_in_order(keep: bool, reboot: bool, typed: list[str]) -> None:
    stops = demo.tour("spare", keep=keep, reboot=reboot)
    assert [each.typed for each in stops] == [f"make {target} STACK=spare" for target in typed]


def test_the_pools_stops_are_in_order_and_shown_as_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of `make` are compared with the Makefile, too: provision, plan and spend know the provider."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", "/state")
    stops = demo.tour("spare", keep=False, reboot=False, pool=True)
    words = ["up", "provider", "provision", "smoke", "plan", "die", "up", "back", "smoke", "spend", "alerts", "down"]
    assert [each.typed.split()[3 if each.typed.startswith("python") else 1] for each in stops] == words
    copy = "/state/stacks/spare/provider/outputs.json"
    assert [each.typed.split()[1] for each in stops if f"INVENTORY={copy}" in each.typed] == [
        "provision",
        "plan",
        "spend",
    ]
    for each in stops:
        if each.typed.startswith("python"):
            assert shlex.join(each.argv).replace(f"{CHECKOUT}/.venv/bin/", "") == each.typed
        else:
            assert shlex.join(each.argv).replace(f"{CHECKOUT}/", "") == made(each.typed)


@pytest.mark.parametrize("stop", demo.tour("spare", keep=False, reboot=True), ids=lambda stop: stop.typed)
def test_the_shown_command_is_the_one_that_runs(stop: Stop) -> None:
    """The tour once showed `make smoke` and ran another program, which does not check GPUs."""
    assert shlex.join(stop.argv).replace(f"{CHECKOUT}/", "") == made(stop.typed)


def made(typed: str) -> str:
    """Return the command that a `make` command runs."""
    make = [*shlex.split(typed), "-n", "-o", ".venv/.ready"]
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}  # without the ARGS of `make test`
    return subprocess.run(make, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=True).stdout.strip()


def test_each_stop_has_a_title_a_time_and_the_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note = f"import os; open({str(tmp_path / 'runs')!r}, 'a').write(os.environ['{RUN_VARIABLE}'] + ' ')"
    seconds = demo.walk("spare", [stop(note, "First"), stop(note, "Second")], {RUN_VARIABLE: RUN})

    assert (tmp_path / "runs").read_text() == f"{RUN} {RUN} "
    assert len(seconds) == 2
    assert min(seconds) > 0
    assert capsys.readouterr().err.splitlines()[1::2] == [
        "━━ 1/2  First   $ make something",
        "━━ 2/2  Second   $ make something",
    ]


def test_the_tour_ends_at_the_first_failure(tmp_path: Path) -> None:
    later = tmp_path / "later"
    stops = [stop("pass"), stop("raise SystemExit(3)"), stop(f"open({str(later)!r}, 'w')")]
    with pytest.raises(DeployError) as failed:
        demo.walk("spare", stops, {})

    assert failed.value.where == "demo, stop 2 of 3"
    assert failed.value.what == "make something ended with status 3"
    assert "look at it with `make logs STACK=spare`" in failed.value.hint
    assert "`make down STACK=spare`" in failed.value.hint
    assert not later.exists()


def test_ctrl_c_ends_the_tour_after_the_running_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """If a stop handled Ctrl-C and exited with 0, the tour once went on."""
    tidied, later = tmp_path / "tidied", tmp_path / "later"
    interrupted = (
        "import os, signal, time\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"  # a terminal signals both
        "time.sleep(0.3)\n"  # a cleanup, which the tour must wait for
        f"open({str(tidied)!r}, 'w')\n"
    )
    stops = [stop(interrupted), stop(f"open({str(later)!r}, 'w')")]
    monkeypatch.setattr(demo, "tour", lambda *_arguments, **_options: stops)

    assert run_cli(lambda: demo.main([])) == 130
    assert tidied.exists()
    assert not later.exists()
    assert capfd.readouterr().err.splitlines()[-1].endswith(", or `make down STACK=local` to undo")


def test_waiting_is_package_installs_and_model_load_of_the_slowest_host(tmp_path: Path) -> None:
    (tmp_path / "provision.json").write_text(json.dumps(PROVISION))
    assert demo.waited_seconds(tmp_path / "provision.json") == 50.0


@pytest.mark.parametrize(
    ("arguments", "end", "stack"),
    [
        ([], "removed", "local"),
        (["--keep"], "kept", "local"),
        (["--engine", "ollama"], "removed", "local-ollama"),
        (["--engine", "ollama", "--stack", "spare"], "removed", "spare"),
    ],
)
def test_the_tour_prints_its_plan_and_its_times(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    arguments: list[str],
    end: str,
    stack: str,
) -> None:
    monkeypatch.setattr(demo, "tour", lambda *_arguments, **_options: [stop("pass", "First"), stop("pass", "Second")])
    monkeypatch.setattr(demo, "walk", lambda _stack, _stops, _environment: [100.0, 5.5])
    write(checkout / "results" / stack / RUN / "provision.json", PROVISION)
    write(checkout / "state/stacks" / stack / "endpoint.json", ENDPOINT)

    assert demo.main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert (
        lines[0]
        == f"demo: one machine (stack {stack}) made, provisioned, proved and {end}; results in runs/{stack}/{RUN}"
    )
    costs = "    105.5 s  in all: 50.0 s of package installs and model load, 55.5 s our own"
    if end == "removed":
        assert lines[-1] == costs
    else:
        assert lines[lines.index(costs) + 2] == "━━ It stays"
        assert lines[-1] == f"next: make status STACK={stack}   or   make down STACK={stack}"


def test_steps_that_a_machine_needs_once_do_not_count_as_ours(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A first run once counted the minutes of building the Pulumi CLI as its own."""
    building = "import core.console as c\nwith c.step('build the CLI', once=True), c.step('look'): pass"
    program = Stop("First", "make something", (sys.executable, "-c", building))
    monkeypatch.setattr(demo, "tour", lambda *_arguments, **_options: [program])
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    write(checkout / "results/local" / RUN / "provision.json", {"hosts": []})

    assert demo.main([]) == 0
    *_, of_it, costs = capsys.readouterr().err.splitlines()
    assert of_it == "      0.0 s  of it once on this machine: build the CLI"
    assert "in all: 0.0 s of set-up that is needed once, 0.0 s of package installs" in costs


@pytest.mark.parametrize(
    ("stands", "ups", "notes", "refused"),
    [
        pytest.param(False, [], {}, False, id="nothing yet"),
        pytest.param(False, [SOMEBODYS], {}, False, id="removed since"),
        pytest.param(True, [SOMEBODYS], {}, True, id="made by hand"),
        pytest.param(True, [], {}, True, id="made by hand, its results deleted"),
        pytest.param(True, [A_DEMOS], {A_DEMOS: {"kept": True}}, True, id="kept by a demo"),
        pytest.param(True, [A_DEMOS], {A_DEMOS: {"kept": False}}, False, id="left by a demo that was cut off"),
        pytest.param(
            True, [AN_EARLIER_DEMOS], {AN_EARLIER_DEMOS: {"kept": False}, A_DEMOS: {"kept": False}}, False,
            id="left by a demo, and another was cut off before it made anything",
        ),
        pytest.param(
            True, [A_DEMOS, SOMEBODYS], {A_DEMOS: {"kept": False}}, True, id="made by hand after a demo that failed"
        ),
    ],
)  # fmt: skip
def test_only_the_rest_of_a_demo_is_removed(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    *,
    stands: bool,
    ups: list[str],
    notes: dict[str, dict[str, bool]],
    refused: bool,
) -> None:
    """`make demo` once removed a stack from `make demo ARGS=--keep` or `make deploy`."""
    monkeypatch.setattr(demo, "walk", lambda _stack, _stops, _environment: [1.0] * 5)
    results, state = checkout / "results/local", checkout / "state/stacks/local"
    if stands:
        write(state / "outputs.json", {})
    for run in ups:
        write(results / run / "up.json", {"ok": True})
        (results / "latest").unlink(missing_ok=True)
        (results / "latest").symlink_to(run)
    for run, note in notes.items():
        write(results / run / "demo.json", note)
    write(results / RUN / "provision.json", PROVISION)

    assert run_cli(lambda: demo.main([])) == (2 if refused else 0)
    assert (results / RUN / "demo.json").exists() is not refused
    if refused:
        assert capfd.readouterr().err == (
            "error: demo: stack local exists, and the demo would remove it at the end; run `make down STACK=local` "
            "first, or keep the stack with ARGS=--keep\n"
        )


@pytest.mark.parametrize(("stands", "kept"), [(False, False), (True, True)], ids=["its own", "somebody's"])
def test_a_demo_that_keeps_does_not_claim_another_stack(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, *, stands: bool, kept: bool
) -> None:
    """If this demo is interrupted, the next one reads the note; a kept stack stays."""
    note = checkout / "results/local" / RUN / "demo.json"
    noted = []

    def walk(*_arguments: object) -> list[float]:
        noted.append(json.loads(note.read_text())["kept"])
        return [1.0] * 4

    monkeypatch.setattr(demo, "walk", walk)
    if stands:
        write(checkout / "state/stacks/local/outputs.json", {})
    write(checkout / "results/local" / RUN / "provision.json", PROVISION)
    write(checkout / "state/stacks/local/endpoint.json", ENDPOINT)

    assert demo.main(["--keep"]) == 0
    assert noted == [kept]
    assert json.loads(note.read_text())["kept"] is True


@pytest.mark.parametrize("ca", [ENDPOINT["ca"], None], ids=["our CA", "a CA that the system knows"])
def test_the_kept_endpoint_is_printed_with_a_command(checkout: Path, ca: str | None) -> None:
    """A kept demo once ended with a table of times only."""
    keys = checkout / "keys of a stack.json"
    write(keys, {"batch-1": "sk-secret", "default": "sk-other"})
    write(checkout / "state/stacks/local/endpoint.json", ENDPOINT | {"keys_file": str(keys), "ca": ca})

    text = demo.how_to_ask("local")
    assert "URL      https://192.0.2.7/v1\n" in text
    assert f"API key  batch-1 in {keys}\n" in text
    assert "sk-" not in text
    assert "'\"'" not in text  # no nested shell quotes, which are hard to read
    shown = 'curl() { for word; do case $word in @*) cat "${word#@}";; *) echo "$word";; esac; done; }\n'
    command = text[text.index("  curl ") :]
    done = subprocess.run(["bash", "-c", shown + command], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        *(["--cacert", ca] if ca else []),
        "https://192.0.2.7/v1/completions",
        *("-H", "Content-Type: application/json"),
        *("-H", "Authorization: Bearer sk-secret"),
        *("-d", '{"model": "contract", "prompt": "Hello", "max_tokens": 8}'),
    ]
