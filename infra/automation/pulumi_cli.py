"""Runs the Pulumi CLI on one stack: its files, processes and output. Used by infra/automation/stack.py only.

The Pulumi engine writes to files, in a new session. So it completes its current step if its command is killed, and its
children can be found if the engine itself is killed.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO

from core.console import say
from core.errors import DeployError
from core.files import write_atomically
from core.paths import CHECKOUT, STACKS_DIR
from core.processes import Process
from core.waiting.deadline import Deadline
from infra.automation.backend import PROJECT, Backend
from infra.automation.cli_environment import cli_environment
from infra.automation.engine_errors import BackendTimeoutError, EngineError, EngineFailedError, EngineTimeoutError
from infra.automation.events import Report
from infra.automation.lock import Operation, forwarding, passed_on, stop_engine, sweep
from infra.automation.plugins import ensure_plugin
from tools.pulumi.cli import PulumiCli, find_cli

KeptMachines = Callable[[], Mapping[str, str]]
"""Returns the machines that are started, not created, if a refresh does not find them: `Report.kept`."""

STREAMED = {"PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "true"}
"""Makes `preview --json` print one event a line. Not set for users' own commands: their scripts expect one document."""

POLL_S = 0.05
STOP_S = 15.0
"""How long a Pulumi engine may take to end after SIGTERM, which it gets at its time limit."""

ASK_S = 60.0
"""Time limit for commands that do not work on resources. They read or write the state, perhaps in a bucket."""

SHOWN_LINES = 12

SIGNALLED = 128
"""A shell adds this to the number of the signal that ended a command."""


@dataclass(frozen=True)
class Typed:
    """The result of a command that the user typed."""

    status: int
    """Exit status, as in a shell."""

    report: Report
    changed: bool
    """Whether it began to change the stack. A preview does not, nor an `up` that the user did not confirm."""


@dataclass
class Engine:
    """The Pulumi CLI, with a backend, on one stack."""

    backend: Backend
    stack: str
    folder: Path
    """The stack's folder in the state folder."""

    settings: dict[str, str] = field(default_factory=dict)
    """More environment variables for the Pulumi engine, its program and its providers."""

    reference: str = ""
    """The name of the stack for the CLI, perhaps with its organization. Empty: `stack`."""

    vendor: str | None = None
    """Cloud whose Pulumi plugin the stack needs. None: it needs no plugin."""

    kept_machines: KeptMachines = dict

    @cached_property
    def cli(self) -> PulumiCli:
        """The CLI. It is found, fetched or built on first use, because some commands do not need it."""
        return find_cli()

    def stream(self, verb: str, *arguments: str, operation: Operation, limit_s: float | None = None) -> Report:
        """Run a command that works on the stack, print its progress, and return its report.

        Raises EngineError when it could not begin, DeployError when it failed, EngineTimeoutError when it took longer
        than `limit_s`, KeyboardInterrupt when the user stopped it.
        """
        if self.vendor is not None:
            ensure_plugin(self.cli, self.vendor)
        report = Report(preview=verb == "preview", kept=self.kept_machines())
        process = self._start(verb, arguments)
        engine = Process.of_pid(process.pid)
        if engine is not None:
            operation.started(engine)
        end = None if limit_s is None else Deadline.after(limit_s)
        received = self._follow(process, engine, report, end)
        is_over = end is not None and not end.left_s() and process.returncode != 0
        if engine is not None and (received or is_over or process.returncode < 0):
            sweep(engine)
        if received:
            raise KeyboardInterrupt
        if is_over:
            raise EngineTimeoutError(f"was stopped after {limit_s:.0f} s", where=f"{verb} of stack {self.stack}")
        failure = self._verdict(verb, process.returncode, report)
        if failure is None or isinstance(failure, EngineError):
            operation.ended_well()
        if failure is not None:
            raise failure
        return report

    @property
    def named(self) -> str:
        """The name of the stack for the CLI."""
        return self.reference or self.stack

    def at_terminal(self, arguments: Sequence[str], operation: Operation, *, config: bool) -> "Typed":
        """Run a command as the user typed it, at their terminal, and return the result.

        With `config`, the CLI gets a copy of the stack's file, because it would write a salt into the file itself.
        """
        if self.vendor is not None:
            ensure_plugin(self.cli, self.vendor)
        self._events.unlink(missing_ok=True)
        argv = [str(self.cli.program), *arguments, "--event-log", str(self._events)]
        argv += ["--config-file", str(self.config_file())] if config else []
        process = subprocess.Popen(argv, env=self.environment() | {"PULUMI_DEBUG_COMMANDS": "true"})
        engine = Process.of_pid(process.pid)
        if engine is not None:
            operation.started(engine)
        with passed_on(process):
            status = process.wait()
        report = Report(preview=True)  # the file has the events of the preview; an update that begins empties it
        lines = self._events.read_text(errors="replace").splitlines() if self._events.exists() else []
        for line in lines:
            report.read(line)
        changed = report.began and not any('"planning":true' in line.replace(" ", "") for line in lines)
        if status == 0 or not changed:
            operation.ended_well()
        return Typed(status if status >= 0 else SIGNALLED - status, report, changed)

    def ask(self, *arguments: str) -> str:
        """Return the output of a command that does not work on resources.

        Raises EngineError with its stderr, BackendTimeoutError when the backend does not answer. Runs in a copy of
        the project, so that Pulumi's notes do not change the checkout.
        """
        self.config_file()
        try:
            done = subprocess.run(
                [str(self.cli.program), "--non-interactive", *arguments],
                cwd=self._project(),
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=ASK_S,
            )
        except subprocess.TimeoutExpired:
            where = f"pulumi {arguments[0]} of stack {self.stack}"
            hint = f"check that the backend answers: {self.backend.shown}"
            raise BackendTimeoutError(f"was stopped after {ASK_S:.0f} s", where=where, hint=hint) from None
        if done.returncode:
            raise EngineError(done.stderr.strip())
        return done.stdout

    def environment(self) -> dict[str, str]:
        """Return the environment of the Pulumi engine."""
        return cli_environment(self.cli, self.backend) | self.settings

    def config_file(self) -> Path:
        """Return a new copy of the stack's file. The Pulumi engine adds a salt to the file that it gets.

        If the stack's file was deleted, keep the copy of the last run: the stack can still be removed.
        """
        copy = self._project() / f"Pulumi.{self.stack}.yaml"
        original = STACKS_DIR / copy.name
        if original.exists():
            write_atomically(copy, original.read_bytes(), mode=0o600)
        elif not copy.exists():
            write_atomically(copy, "config: {}\n", mode=0o600)
        return copy

    def _project(self) -> Path:
        """Return a folder with a project of the same name and no program in it."""
        folder = self.folder / "project"
        folder.mkdir(exist_ok=True)
        file = folder / "Pulumi.yaml"
        if not file.exists():
            write_atomically(file, f"name: {PROJECT}\nruntime: python\n")
        return folder

    @property
    def _events(self) -> Path:
        return self.folder / "engine.jsonl"

    @property
    def _stderr_file(self) -> Path:
        return self.folder / "engine.stderr"

    def _start(self, verb: str, arguments: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start the CLI in a new session. It writes events and stderr to files."""
        argv = [str(self.cli.program), verb, "--json", "--non-interactive", "--stack", self.named]
        argv += ["--config-file", str(self.config_file()), *arguments]
        with self._events.open("wb") as stdout, self._stderr_file.open("wb") as stderr:
            return subprocess.Popen(
                argv,
                cwd=CHECKOUT,
                env=self.environment() | STREAMED,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    def _follow(
        self, process: "subprocess.Popen[bytes]", engine: Process | None, report: Report, end: Deadline | None
    ) -> list[int]:
        """Print events until the Pulumi engine has ended. Return the signals that were received.

        At `end`, stop the Pulumi engine with SIGTERM, and some seconds later kill it.
        """
        with forwarding(engine) as received, self._events.open(encoding="utf-8", errors="replace") as lines:
            ended = False
            while not ended:
                ended = process.poll() is not None  # before reading, so that the last lines are not missed
                for line in _complete(lines):
                    for words in report.read(line):
                        say(words)
                if not ended:
                    time.sleep(POLL_S)
                if engine is not None and end is not None and not end.left_s():
                    stop_engine(engine, deadline_s=STOP_S)
        return received

    def _verdict(self, verb: str, status: int, report: Report) -> EngineError | DeployError | None:
        """Return the error of a run that ended by itself. None: it succeeded."""
        if status and not report.began:
            return EngineError(self._stderr())
        if status:
            return self._failure(verb, report)
        if not report.began:
            where = f"{self.cli.program} {verb}"
            return DeployError("printed nothing that this release understands", where=where, hint=str(self._events))
        return None

    def _failure(self, verb: str, report: Report) -> DeployError:
        """Return the error with the reason why the Pulumi engine failed: its first error in a line, the rest below."""
        stderr_text = self._stderr()
        errors = report.errors or [stderr_text or "the Pulumi engine gave no reason"]
        cause, below = _cause(errors[0])
        lines = [*below, *(line for error in errors[1:] for line in error.splitlines()), *stderr_text.splitlines()]
        shown = [f"  {line}" for line in lines[-SHOWN_LINES:]]
        failure = EngineFailedError(
            cause,
            where=f"{verb} of stack {self.stack}",
            detail="\n".join([*shown, f"  all events of the Pulumi engine: {self._events}"]),
        )
        failure.resources = tuple(report.failed)
        return failure

    def _stderr(self) -> str:
        return self._stderr_file.read_text(errors="replace").strip()


def _cause(error: str) -> tuple[str, list[str]]:
    """Return the line of an error that names its cause, and the other lines. In a traceback, that is the last line."""
    lines = [line for line in error.splitlines() if line.strip()] or [error]
    if any(line.startswith("Traceback ") for line in lines):
        return lines[-1], lines[:-1]
    return lines[0], lines[1:]


def _complete(lines: IO[str]) -> Iterator[str]:
    """Yield the complete lines. An incomplete last line is read again next time."""
    while True:
        place = lines.tell()
        line = lines.readline()
        if not line.endswith("\n"):
            lines.seek(place, os.SEEK_SET)
            return
        yield line
