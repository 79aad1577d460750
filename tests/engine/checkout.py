"""A copy of this checkout in which tests run commands as a user types them, with separate state, results and login."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

from core.paths import CHECKOUT
from tests.slowness import patient

EXISTING = """\
config:
  llm-deploy:deployment:
    cloud: existing
    inventory: {inventory}
    serving:
      model: {{name: tiny-llama, source: {{kind: tiny, name: llama}}}}
"""

LOCAL = """\
config:
  llm-deploy:deployment:
    cloud: local
    machine: {{memory_gib: 3, cpus: {cpus}}}
    serving:
      model: {{name: tiny-llama, source: {{kind: tiny, name: llama}}}}
      vllm: {{kv_cache_gib: 0.1}}
"""

INVENTORY = """\
hosts:
  - name: box
    address: 192.0.2.7
    user: root
    host_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIiLw6WnJx0N0Dlb1qRzAcbv3uYfYHkjDEZ8XkUWTJZU]
    cpu_count: 4
    memory_gib: 16
"""

EXAMPLE_NETWORK, OWN_NETWORK = "203.0.113.", "198.18.0."
"""The example network of our stack files, and the network from RFC 2544 that replaces it as the user's network."""

PREFLIGHT = """
import sys
from infra.lifecycle.preflight.command import main
for stack in sys.argv[1:]:
    main(["--stack", stack])
"""

Done = subprocess.CompletedProcess[str]


def copy_checkout(target: Path) -> None:
    """Copy the files that git tracks or would track into `target` and commit them there; .venv is shared.

    The stack files get usable addresses, as a user would write them: preflight refuses the example addresses.
    """
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source = CHECKOUT / name
        if source.exists() or source.is_symlink():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)
            _copy_compiled(source, target / name)
    _fill_in(target / "stacks")
    (target / ".venv").symlink_to(CHECKOUT / ".venv")
    (target / ".git" / "info").mkdir(parents=True)
    _git(target, "init", "--quiet")
    (target / ".git" / "info" / "exclude").write_text("/.venv\n")
    commit(target)


def _copy_compiled(source: Path, target: Path) -> None:
    """Copy the compiled file of a module, so that the first command in the copy need not compile it again."""
    compiled = Path(cache_from_source(str(source))) if source.suffix == ".py" else None
    if compiled is not None and compiled.exists():
        copied = Path(cache_from_source(str(target)))
        copied.parent.mkdir(exist_ok=True)
        shutil.copy2(compiled, copied)


def _fill_in(stacks: Path) -> None:
    for path in stacks.glob("Pulumi.*.yaml"):
        path.write_text(path.read_text().replace(EXAMPLE_NETWORK, OWN_NETWORK))


def commit(folder: Path) -> None:
    """Commit all files of the copy."""
    _git(folder, "add", "--all")
    _git(folder, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--allow-empty", "-m", "x")


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


class Checkout:
    """A copied checkout whose commands a test can run."""

    def __init__(self, folder: Path, home: Path, **environ: str) -> None:
        self.folder = folder
        self.state = home / "state"
        self.runs = home / "runs"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "LLM_DEPLOY_"))}
        self.environ = kept | {
            "PYTHONPATH": str(folder),  # takes precedence over the editable installation of the original checkout
            "LLM_DEPLOY_STATE": str(self.state),
            "LLM_DEPLOY_RUNS": str(self.runs),
            "PULUMI_CREDENTIALS_PATH": str(home),  # ignores the login of the user who runs the tests
            **environ,
        }

    def stack(self, name: str, text: str) -> str:
        """Write the file of a stack and commit it; return the stack's name."""
        (self.folder / "stacks" / f"Pulumi.{name}.yaml").write_text(text)
        commit(self.folder)
        return name

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of `python -m infra.lifecycle.commands`."""
        return [str(self.folder / ".venv/bin/python"), "-m", "infra.lifecycle.commands", *arguments]

    def run(self, command: str, stack: str) -> Done:
        """Run a command and wait until it ends."""
        return self.shell(self.command(command, "--stack", stack))

    def preflight(self, *stacks: str) -> Done:
        """Run the preflight of several stacks in one process."""
        return self.shell([str(self.folder / ".venv/bin/python"), "-c", PREFLIGHT, *stacks])

    def pulumi(self, *words: str, **environ: str) -> Done:
        """Run `pulumi` as a user does who has only activated the environment."""
        activated = '. .venv/bin/activate; exec pulumi "$@"'
        return self.shell(["bash", "-ec", activated, "pulumi", *words], **environ)

    def shell(self, argv: list[str], *, answer: str = "", **environ: str) -> Done:
        """Run any program in the copy, with `answer` on its standard input, and wait until it ends."""
        return subprocess.run(
            argv,
            cwd=self.folder,
            env=self.environ | environ,
            input=answer,
            capture_output=True,
            text=True,
            check=False,
            timeout=patient(300),
        )

    def result(self, stack: str, name: str) -> Any:
        """Return a result file of the last command."""
        return json.loads((self.runs / stack / "latest" / name).read_text())

    def outputs(self, stack: str) -> Any:
        """Return the outputs file of the stack."""
        return json.loads((self.state / "stacks" / stack / "outputs.json").read_text())

    def placement(self, stack: str) -> Any:
        """Return the placement that this checkout noted for the stack."""
        return json.loads((self.state / "stacks" / stack / "placement.json").read_text())

    def checkpoint(self, stack: str) -> Path:
        """Return the state file of the stack in the default backend."""
        return self.state / "pulumi" / ".pulumi" / "stacks" / "llm-deploy" / f"{stack}.json"

    def changes(self) -> str:
        """Return the uncommitted changes that git reports."""
        return _git(self.folder, "status", "--porcelain")

    @contextmanager
    def started(self, command: str, stack: str) -> Iterator["Running"]:
        """Start a command and leave it running; kill it at the end if it still runs."""
        log = self.state.parent / f"{command}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                self.command(command, "--stack", stack),
                cwd=self.folder,
                env=self.environ,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield Running(process, log, self.state / "stacks" / stack / "engine.pid")
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


class Running:
    """A running command."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, note: Path) -> None:
        self.process = process
        self.log = log
        self._note = note

    def wait_for(self, words: str) -> None:
        """Wait until the command has printed `words`."""
        wait_until(lambda: words in self.log.read_text() or self.process.poll() is not None, 60)
        assert words in self.log.read_text(), self.log.read_text()

    @property
    def engine_pid(self) -> int:
        """Process id of the engine."""
        return int(self._note.read_text().split()[0])

    def kill_all(self) -> None:
        """Kill the engine and the command as a power cut would; the engine first, so that it cannot end in order."""
        engine = self.engine_pid
        os.kill(engine, signal.SIGKILL)
        self.process.kill()
        self.process.wait()


def wait_until(is_so: Callable[[], bool], deadline_s: float) -> None:
    """Wait until `is_so` returns true; fail after the deadline."""
    end = time.monotonic() + patient(deadline_s)
    while not is_so():
        assert time.monotonic() < end, f"not so after {patient(deadline_s):.0f} s"
        time.sleep(0.05)


def session_of(pid: int) -> list[int]:
    """Return the running processes in the session that the process `pid` opened."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == pid and fields[0] not in "ZX":
            members.append(int(stat.parent.name))
    return members
