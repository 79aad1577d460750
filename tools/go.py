"""Builds of Go programs, with progress. A wrapper module in this repository pins every source by hash (go.mod, go.sum).

The caller names the target. Caches nothing.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.console import say
from core.errors import DeployError, UsageError

PROGRESS_EVERY_S = 15.0


def check_go(oldest: tuple[int, int, int], *, what: str, missing: str, hint: str) -> None:
    """Raise UsageError unless Go `oldest` or newer is installed. The error says `missing`, or names `what`."""
    if shutil.which("go") is None:
        raise UsageError(missing, where="PATH", hint=hint)
    words = subprocess.run(
        ["go", "version"], capture_output=True, text=True, check=False, env={**os.environ, "GOFLAGS": ""}
    ).stdout
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", words)
    if found is None or tuple(int(part or 0) for part in found.groups()) < oldest:
        raise UsageError(f"cannot build {what} ({words.strip() or 'it does not run'})", where="go", hint=hint)


@dataclass(frozen=True)
class GoModule:
    """A wrapper module: a folder with go.mod and go.sum."""

    folder: Path
    what: str
    """The program's name for messages."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables to add, e.g. CGO_ENABLED."""
    hint: str = "see the lines below"

    def run(self, *arguments: str) -> str:
        """Run `go` in the module's folder and return its output. Raises DeployError with its last lines."""
        done = subprocess.run(
            ["go", *arguments], cwd=self.folder, env=self._whole(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise self._failed(arguments, done.stderr.splitlines())
        return done.stdout

    def dependencies(self, package: str, flags: Sequence[str]) -> int:
        """Fetch the sources of `package` and return the number of packages in it."""
        return len(self.run("list", *flags, "-deps", package).splitlines())

    def source(self, module: str) -> Path:
        """Fetch the sources of `module`, check them against go.sum, and return their folder."""
        self.run("mod", "download", module)
        return Path(self.run("list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module).strip())

    def build(self, package: str, program: Path, flags: Sequence[str], *, packages: int) -> None:
        """Compile `package` to `program` and print the progress: `go build -v` prints each of the `packages`."""
        arguments = ["build", "-v", *flags, "-o", str(program), package]
        lines: list[str] = []
        start = printed = time.monotonic()
        with subprocess.Popen(
            ["go", *arguments], cwd=self.folder, env=self._whole(), stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None  # noqa: S101  # a pipe, see above
            try:
                for line in process.stderr:
                    lines.append(line.rstrip())
                    if time.monotonic() - printed > PROGRESS_EVERY_S:
                        printed = time.monotonic()
                        say(f"  {program.name}: {len(lines)} of {packages} packages, {printed - start:.0f} s")
            except BaseException:
                process.terminate()
                raise
        if process.returncode:
            raise self._failed(arguments, lines)

    def _whole(self) -> dict[str, str]:
        return {**os.environ, "GOFLAGS": "", "GOWORK": "off", **self.environment}

    def _failed(self, arguments: Sequence[str], lines: Sequence[str]) -> DeployError:
        detail = "\n".join(f"  {line}" for line in lines[-8:])
        return DeployError("failed", where=f"go {arguments[0]} of {self.what}", hint=self.hint, detail=detail)
