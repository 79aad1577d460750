"""How the CLI is run; a script prints what the real CLI prints in situations that are hard to cause."""

import json
from pathlib import Path

import pytest

from core import paths
from core.errors import DeployError
from infra.automation import pulumi_cli as engine_module
from infra.automation.backend import find_backend
from infra.automation.engine_errors import BackendTimeoutError, EngineError, EngineTimeoutError
from infra.automation.lock import operation
from infra.automation.pulumi_cli import Engine
from infra.automation.stack import Stack
from tools.pulumi.cli import PulumiCli

PRELUDE = '{"preludeEvent":{}}'
NO_STACK = "echo \"error: no stack named 'one' found\" >&2; exit 6"
LOCKED = (
    "error: the stack is currently locked by 1 lock(s). Either wait\\n  s3://x: created by kim@laptop (pid 42) at now"
)


def failing(message: str) -> str:
    """Return the shell code of an engine that begins, reports an error and fails."""
    event = json.dumps({"diagnosticEvent": {"severity": "error", "message": message}})
    return f"printf '%s\\n' '{PRELUDE}' '{event}'; exit 1"


class Cli:
    """A double of `pulumi`: it records its arguments, then runs the shell code given for its verb."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "pulumi"

    def does(self, **verbs: str) -> None:
        cases = "\n".join(f"  {verb}) {script} ;;" for verb, script in verbs.items())
        self.program.write_text(
            f'#!/bin/sh\necho "$*" >> {self.folder}/calls\nfor verb; do case "$verb" in\n{cases}\nesac; done\n'
        )
        self.program.chmod(0o755)

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file:///elsewhere")
    stacks = tmp_path / "stacks"
    stacks.mkdir()
    (stacks / "Pulumi.one.yaml").write_text("# tracked\nconfig: {}\n")
    monkeypatch.setattr(engine_module, "STACKS_DIR", stacks)
    stand_in = Cli(tmp_path)
    monkeypatch.setattr(engine_module, "find_cli", lambda: PulumiCli(stand_in.program, "3.258.0", "path"))
    return stand_in


def engine() -> Engine:
    return Engine(find_backend(), "one", paths.stack_state_dir("one"))


def run(verb: str) -> object:
    with operation("one") as held:
        return getattr(Stack(engine(), held), verb)()


def test_the_engine_gets_a_copy_of_the_stack_file(cli: Cli, tmp_path: Path) -> None:
    cli.does(up=f"echo '{PRELUDE}'; until [ $1 = --config-file ]; do shift; done; echo salt: 1 >> $2")
    run("up")
    copy = tmp_path / "state/stacks/one/project/Pulumi.one.yaml"

    assert f"--config-file {copy}" in cli.calls()[0]
    assert "salt: 1" in copy.read_text()
    assert (tmp_path / "stacks/Pulumi.one.yaml").read_text() == "# tracked\nconfig: {}\n"


def test_a_failure_is_reported_as_its_first_error_in_one_line(cli: Cli) -> None:
    error = (
        '{"diagnosticEvent":{"severity":"error","message":"Exception calling application: no room\\\\nfree: 3 MiB"}}'
    )
    cli.does(up=f"echo '{PRELUDE}'; echo '{error}'; exit 1")

    with pytest.raises(DeployError, match=r"^up of stack one: no room$") as caught:
        run("up")

    assert "  free: 3 MiB" in caught.value.detail
    assert "engine.jsonl" in caught.value.detail


def test_the_cause_is_the_last_line_of_a_traceback(cli: Cli) -> None:
    cli.does(up=failing("Program failed:\nTraceback (most recent call last):\nValueError: x"))

    with pytest.raises(DeployError, match=r"^up of stack one: ValueError: x$"):
        run("up")


def test_up_creates_a_missing_stack(cli: Cli, tmp_path: Path) -> None:
    made = tmp_path / "made"
    cli.does(
        init=f"touch {made}; exit 0",
        up=f"[ -e {made} ] && echo '{PRELUDE}' && exit 0; {NO_STACK}",
    )
    run("up")

    assert [call.split()[0] for call in cli.calls()] == ["up", "--non-interactive", "up"]


@pytest.mark.parametrize("verb", ["refresh", "destroy", "outputs"])
def test_a_missing_stack_returns_none(cli: Cli, verb: str) -> None:
    cli.does(
        **dict.fromkeys(("refresh", "destroy", "export"), "echo \"error: no stack named 'one' found\" >&2; exit 6")
    )

    assert run(verb) is None


def test_a_lock_of_another_computer_is_never_broken(cli: Cli) -> None:
    cli.does(up=f"printf '{LOCKED}' >&2; exit 255")

    with pytest.raises(DeployError, match="stack one: is locked by kim@laptop, process 42; wait"):
        run("up")

    assert not any("cancel" in call for call in cli.calls())


def test_an_engine_that_prints_nothing_has_failed(cli: Cli) -> None:
    cli.does(up="exit 0")

    with pytest.raises(DeployError, match="printed nothing that this release understands"):
        run("up")


def test_a_slow_engine_is_stopped(cli: Cli) -> None:
    """The next command recovers, as after any interrupted operation."""
    cli.does(destroy=f"echo '{PRELUDE}'; sleep 60")

    with operation("one") as held, pytest.raises(EngineTimeoutError, match="destroy of stack one: was stopped after 0"):
        Stack(engine(), held).destroy(limit_s=0.2)

    with operation("one") as held:
        assert held.interrupted


def test_a_call_to_a_silent_backend_ends_at_the_timeout(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "ASK_S", 0.2)
    cli.does(export="exec sleep 600")

    with pytest.raises(BackendTimeoutError, match="stack one: was stopped after 0 s; check that the backend"):
        run("outputs")


def test_an_error_of_the_cli_is_reported_in_its_words(cli: Cli) -> None:
    cli.does(up="echo 'error: passphrase must be set with PULUMI_CONFIG_PASSPHRASE' >&2; exit 1")

    with pytest.raises(DeployError, match="stack one: passphrase must be set with PULUMI_CONFIG_PASSPHRASE"):
        run("up")


def test_a_failed_cli_command_raises_an_engine_error(cli: Cli) -> None:
    cli.does(rm="echo 'error: still has resources' >&2; exit 1")

    with pytest.raises(EngineError, match="still has resources"):
        engine().ask("stack", "rm")


PREVIEWED = '{"resourcePreEvent":{"metadata":{"op":"create","urn":"a::b","type":"t"},"planning":true}}'
LOG = (
    'until [ -e "$LLM_DEPLOY_STATE/stacks/one/engine.pid" ]; do :; done;'
    " until [ $1 = --event-log ]; do shift; done; printf '%s\\n' {} > $2; exit {}"
)
"""Shell code that waits for the note of its process, writes events to the CLI's log and exits with a status."""


@pytest.mark.parametrize(
    ("events", "status", "came_to"),
    [
        ([PRELUDE], 0, ["change"]),
        ([PRELUDE], 255, ["change", "note"]),
        ([PRELUDE, PREVIEWED], 0, []),
        ([PRELUDE, PREVIEWED], 255, []),
        ([], 255, []),
    ],
    ids=["update", "failed update", "preview", "not confirmed", "refused"],
)
def test_only_a_failed_update_leaves_a_note_for_the_next_command(
    cli: Cli, tmp_path: Path, events: list[str], status: int, came_to: list[str]
) -> None:
    cli.does(up=LOG.format(" ".join(f"'{event}'" for event in events) or "''", status))

    with operation("one") as held:
        typed = Stack(engine(), held).typed(["up", "-s", "one"], config=True)

    assert typed.status == status
    assert typed.changed is ("change" in came_to)
    assert (tmp_path / "state/stacks/one/engine.pid").exists() is ("note" in came_to)
    assert (tmp_path / "stacks/Pulumi.one.yaml").read_text() == "# tracked\nconfig: {}\n"


def test_a_command_ended_by_a_signal_has_the_exit_status_of_a_shell(cli: Cli) -> None:
    cli.does(up="kill -TERM $$")

    with operation("one") as held:
        assert Stack(engine(), held).typed(["up"], config=False).status == 143
