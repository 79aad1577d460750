"""`fab` as a person runs it, with its own inventory; and obstacles on a machine."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from core.paths import CHECKOUT
from infra.contract.outputs import HostRecord
from tests.slowness import patient
from tests.unit.provisioning.records import stack_values

FAB = Path(sys.executable).with_name("fab")


@dataclass(frozen=True)
class Said:
    """The result of a command: status and output."""

    status: int
    out: str
    err: str

    @property
    def columns(self) -> str:
        """The output with two blanks between columns: they are as wide as their longest word."""
        return re.sub(" {2,}", "  ", self.out)

    @property
    def error(self) -> str:
        """The one line that says what went wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


class Running:
    """A running command."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._heard = ""

    def wait_for(self, words: str) -> None:
        """Read until a line with `words` has arrived on stderr."""
        assert self._process.stderr is not None
        self._heard += self._read_until(self._process.stderr, words)

    def wait_for_output(self, words: str) -> None:
        """Read until a line of data with `words` has arrived."""
        assert self._process.stdout is not None
        self._read_until(self._process.stdout, words)

    def _read_until(self, lines: IO[str], words: str) -> str:
        """Return the lines read; pytest's deadline stops a command that neither prints it nor ends."""
        heard = ""
        for line in lines:
            heard += line
            if words in line:
                return heard
        raise AssertionError(f"it ended without {words!r}:\n{heard}")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def end(self, deadline_s: float = 120) -> Said:
        """Wait for its end."""
        out, err = self._process.communicate(timeout=patient(deadline_s))
        return Said(self._process.returncode, out, self._heard + err)


class Fab:
    """Runs tasks on `hosts`; state and results lie in `folder`."""

    def __init__(self, folder: Path, *hosts: HostRecord, **values: Any) -> None:
        self.runs = folder / "runs"
        self.state = folder / "state"
        self.inventory = folder / "hosts.json"
        self.use(*hosts, **values)

    def use(self, *hosts: HostRecord, **values: Any) -> None:
        """Rewrite the inventory."""
        records = [host.model_dump(mode="json", exclude_unset=True) for host in hosts]
        self.inventory.write_text(json.dumps(stack_values(*records, **values)))

    def start(self, task: str, *arguments: str) -> Running:
        """Start a task."""
        where = {"LLM_DEPLOY_STATE": str(self.state), "LLM_DEPLOY_RUNS": str(self.runs)}
        environment = {name: value for name, value in os.environ.items() if name != "LLM_DEPLOY_RUN"}
        process = subprocess.Popen(
            [str(FAB), "-r", "provisioning", task, "--inventory", str(self.inventory), *arguments],
            cwd=CHECKOUT,
            env={**environment, **where},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return Running(process)

    def run(self, task: str, *arguments: str, deadline_s: float = 120) -> Said:
        """Run a task to its end."""
        return self.start(task, *arguments).end(deadline_s)

    def result(self) -> dict[str, Any]:
        """Return the newest provision.json."""
        content: dict[str, Any] = json.loads((self.runs / "test/latest/provision.json").read_text())
        return content


@contextmanager
def unreachable(host: HostRecord) -> Iterator[None]:
    """Drop the machine's packets beyond this host, like a failed registry or network."""
    with forwarding(f"ip saddr {host.address} drop"):
        yield


@contextmanager
def forwarding(rule: str) -> Iterator[None]:
    """Add `rule` for the packets that this host forwards."""
    table = f"test_{secrets.token_hex(4)}"
    chain = f"chain forward {{\ntype filter hook forward priority -10;\n{rule}\n}}"
    subprocess.run(["nft", "-f", "-"], input=f"table ip {table} {{\n{chain}\n}}\n", text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "ip", table], check=True)
