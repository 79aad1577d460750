"""`make ask`: how the question gets from the command line to the provider, and what comes back."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.paths import CHECKOUT
from serving.ask import main
from tests.doubles.scripted_http import Scripted, ScriptedServer, scripted_server
from tests.slowness import patient
from tests.unit.serving.test_client import BUSY, CHAT, KEY, OPENAI_EVENTS


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


def environment(server: ScriptedServer) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    return {
        **kept,
        "OPENAI_API_KEY": KEY,
        "OPENAI_MODEL": "gpt-5.4-mini",
        "OPENAI_BASE_URL": f"{server.url}/v1",
    }


def make(server: ScriptedServer, *words: str, piped: str = "") -> subprocess.CompletedProcess[str]:
    """Run `make ask` against the server."""
    return subprocess.run(
        ["make", "-o", ".venv/.ready", "ask", *words],
        cwd=CHECKOUT,
        env=environment(server),
        input=piped,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "piped", "asked"),
    [
        (["What does the contract say?"], "", "What does the contract say?"),
        (["What", "does", "it", "say?"], "", "What does it say?"),
        (["README.md", "is", "what?"], "", "README.md is what?"),
        (["Q=What is 1+1=2, or 50%, or #5?"], "", "What is 1+1=2, or 50%, or #5?"),
        (["Q=should we go down?"], "", "should we go down?"),
        (['Q=it\'s "$HOME" $(shell echo run >&2) `id` \\ $$'], "", 'it\'s "$HOME" $(shell echo run >&2) `id` \\ $$'),
        (['it\'s "$HOME" $(shell echo run >&2) `id`'], "", 'it\'s "$HOME" $(shell echo run >&2) `id`'),
        ([], "A page\nof text.\n", "A page\nof text.\n"),
    ],
)
def test_the_question_arrives_as_it_was_written(
    server: ScriptedServer, words: list[str], piped: str, asked: str
) -> None:
    server.answers = [Scripted(body=CHAT)]
    done = make(server, "PROVIDER=openai", *words, piped=piped)

    assert done.stdout == "A contract.\n"
    assert done.returncode == 0
    assert server.requests[0].body["messages"] == [{"role": "user", "content": asked}]
    first, last = done.stderr.splitlines()
    assert first == f"→ openai: gpt-5.4-mini at {server.url}/v1"
    assert last.startswith("✓ 12 + 5 tokens, $0.000031, ")


def test_options(server: ScriptedServer, tmp_path: Path) -> None:
    skill = tmp_path / "skill.md"
    skill.write_text("Be short.")
    server.answers = [Scripted(events=OPENAI_EVENTS)]
    done = make(
        server,
        "PROVIDER=openai",
        f"ARGS=--stream --mask --model mine --max-tokens 5 --system {skill}",
        "Q=I am a@example.com",
    )
    assert (done.stdout, done.returncode) == ("A contract.\n", 0)
    assert "12 + 5 tokens, cost unknown, " in done.stderr
    sent = server.requests[0].body
    assert (sent["model"], sent["max_completion_tokens"]) == ("mine", 5)
    assert [message["content"] for message in sent["messages"]] == ["Be short.", "I am [EMAIL]"]


@pytest.mark.parametrize(
    ("words", "answers", "status", "line"),
    [
        ([], [], 2, 'error: make ask: there is no question; write make ask Q="…"'),
        (["PROVIDER=opnai", "hi"], [], 2, "error: provider opnai is unknown; did you mean openai?"),
        (["PROVIDER=claude", "hi"], [], 2, "error: CLAUDE_API_KEY is not set; write e.g. CLAUDE_API_KEY=sk-ant-…"),
        (["STACK=prod", "hi"], [], 2, "provider openai has no stack; only provider gateway has"),
        (["ARGS=--sytem x", "hi"], [], 2, "error: make ask: unrecognized arguments: --sytem x"),
        (["ARGS=--system none.md", "hi"], [], 2, "error: none.md: cannot be read (No such file or directory)"),
        (["hi"], [Scripted(status=401, body=BUSY)], 1, "HTTP 401 queue_full: Too many requests are waiting."),
        (["hi"], [Scripted(events=OPENAI_EVENTS[:1], cut=True)], 1, "the answer broke off"),
    ],
)
def test_errors_are_one_line(
    server: ScriptedServer, words: list[str], answers: list[Scripted], *, status: int, line: str
) -> None:
    server.answers = list(answers)
    stream = ["ARGS=--stream"] if answers and answers[0].events else []
    done = make(server, *([] if "PROVIDER" in "".join(words) else ["PROVIDER=openai"]), *words, *stream)

    assert line in done.stderr
    assert f"Error {status}" in done.stderr
    assert done.returncode == 2, "make's own status for every failure"
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr


@pytest.mark.parametrize(
    ("words", "stamps", "installed"),
    [
        (["--provider", "gateway", "--stack", "none"], [], []),
        (["--provider", "openai"], [], [[str(CHECKOUT / "tools/bootstrap.sh"), "clients"]]),
        (["--provider", "openai"], [".ready-tests"], []),
    ],
)
def test_sdks_are_installed_once_the_settings_are_right(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], stamps: list[str], installed: list[list[str]]
) -> None:
    """A stack that was not up installed 60 MB first, and then said that it is not up."""
    calls: list[list[str]] = []

    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(argv)
        return subprocess.CompletedProcess(argv, 0)

    monkeypatch.setattr("subprocess.run", run)
    nobody = {"OPENAI_API_KEY": KEY, "OPENAI_MODEL": "m", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
    for name, value in {**nobody, "LLM_DEPLOY_STATE": str(tmp_path), "GATEWAY_STACK": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("serving.ask.ENVIRONMENT", tmp_path)
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    for name in stamps:
        (tmp_path / name).touch()
    assert main(words, env={"LLM_QUESTION": "hi"}) == (2 if "none" in words else 1)
    assert [argv for argv in calls if argv[0].endswith("bootstrap.sh")] == installed


def test_a_models_answer_cannot_control_the_terminal(server: ScriptedServer) -> None:
    server.answers = [Scripted(body=json.loads(json.dumps(CHAT).replace("A contract.", "\\u001b]0;x\\u0007")))]
    assert make(server, "PROVIDER=openai", "hi").stdout == "\\x1b]0;x\\x07\n"


def test_ctrl_c_ends_it_with_one_line(server: ScriptedServer) -> None:
    server.answers = [Scripted(silent=True)]
    process = subprocess.Popen(
        [CHECKOUT / ".venv/bin/python", "-m", "serving.ask", "--provider", "openai"],
        cwd=CHECKOUT,
        env={**environment(server), "LLM_QUESTION": "hi"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    with process.stderr:
        assert process.stderr.readline().startswith("→ openai")
        while not server.requests:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(patient(30)) == 130
    assert len(said.splitlines()) == 1
