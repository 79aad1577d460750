"""The Pulumi CLI built from Go modules, for a machine that reaches the module proxy and not the release server.

The wrapper modules engine/ and language/ pin every source by hash (go.sum). The engine is of the present release; the
Python language host is an old one, the last that the proxy offers whole, and works with it when the project's
environment is first on PATH. Needs Go, and no C compiler.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from core.console import say, step
from core.errors import DeployError, UsageError
from tools.pulumi.versions import ENGINE_VERSION, GO_FROM, SUPPORTED_FROM

WRAPPERS = Path(__file__).resolve().parent
ENGINE_MODULE = "github.com/pulumi/pulumi/sdk/v3"
ENGINE_PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
LANGUAGE_PACKAGE = "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"
VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"

BUILD_FLAGS = ("-mod=readonly", "-trimpath", "-tags=osusergo,grpcnotrace")
SCRIPTS = ("python/cmd/pulumi-language-python-exec", "python/dist/pulumi-resource-pulumi-python")
"""Programs that need no compiling, in the engine's version of the SDK: start of a program, of a dynamic provider."""

PROGRESS_EVERY_S = 15.0


def recipe_hash() -> str:
    """Return 12 hex digits that change with anything that goes into the build."""
    digest = hashlib.sha256(repr((ENGINE_VERSION, BUILD_FLAGS, SCRIPTS, platform.machine())).encode())
    for name in ("engine/go.mod", "engine/go.sum", "language/go.mod", "language/go.sum"):
        digest.update((WRAPPERS / name).read_bytes())
    return digest.hexdigest()[:12]


def build_cli(target: Path) -> None:
    """Put the engine, the language host and their scripts into the folder `target`.

    Raises UsageError without a Go that can, DeployError when a source cannot be had or does not compile.
    """
    check_go()
    with step("fetch the sources of the Pulumi CLI from the Go module proxy"):
        engine_packages = _dependencies("engine", ENGINE_PACKAGE)
        language_packages = _dependencies("language", LANGUAGE_PACKAGE)
    with step(f"build the Pulumi CLI {ENGINE_VERSION} (once; some 5 minutes on 2 cores)"):
        version = f"-ldflags=-s -w -X {VERSION_VARIABLE}=v{ENGINE_VERSION}"
        _build("engine", ENGINE_PACKAGE, target / "pulumi", version, engine_packages)
        language = target / "pulumi-language-python"
        _build("language", LANGUAGE_PACKAGE, language, "-ldflags=-s -w", language_packages)
    sdk = Path(_go("engine", "list", "-m", "-f", "{{.Dir}}", ENGINE_MODULE).strip())
    for script in SCRIPTS:
        program = target / Path(script).name
        shutil.copyfile(sdk / script, program)
        program.chmod(0o755)


def check_go() -> None:
    """Raise UsageError, saying what to install, unless there is a Go that can build the CLI."""
    wanted = ".".join(map(str, GO_FROM[:2]))
    hint = f"install Pulumi {'.'.join(map(str, SUPPORTED_FROM))} or newer, or Go {wanted} or newer to build it here"
    if shutil.which("go") is None:
        raise UsageError("there is no Pulumi CLI, and no Go to build it with", where="PATH", hint=hint)
    words = subprocess.run(["go", "version"], capture_output=True, text=True, check=False, env=_environment()).stdout
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", words)
    if found is None or tuple(int(part or 0) for part in found.groups()) < GO_FROM:
        seen = words.strip() or "it does not run"
        raise UsageError(f"cannot build the Pulumi CLI ({seen})", where="go", hint=hint)


def _environment() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}


def _go(wrapper: str, *arguments: str) -> str:
    """Return what `go` prints when run in the folder of `wrapper`. Raises DeployError with its last lines."""
    done = subprocess.run(
        ["go", *arguments], cwd=WRAPPERS / wrapper, env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise _failed(arguments, done.stderr.splitlines())
    return done.stdout


def _dependencies(wrapper: str, package: str) -> int:
    """Fetch all that `package` is built from and return the number of its packages."""
    return len(_go(wrapper, "list", *BUILD_FLAGS, "-deps", package).splitlines())


def _build(wrapper: str, package: str, program: Path, link_flags: str, packages: int) -> None:
    """Compile `package` to `program`, telling now and then how far it is: `go build -v` names each package it does."""
    arguments = ["build", "-v", *BUILD_FLAGS, link_flags, "-o", str(program), package]
    lines: list[str] = []
    start = told = time.monotonic()
    with subprocess.Popen(
        ["go", *arguments], cwd=WRAPPERS / wrapper, env=_environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None  # noqa: S101  # it is a pipe, see above
        try:
            for line in process.stderr:
                lines.append(line.rstrip())
                if time.monotonic() - told > PROGRESS_EVERY_S:
                    told = time.monotonic()
                    say(f"  {program.name}: {len(lines)} of {packages} packages, {told - start:.0f} s")
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise _failed(arguments, lines)


def _failed(arguments: Sequence[str], lines: list[str]) -> DeployError:
    return DeployError(
        "failed",
        where=f"go {arguments[0]} of the Pulumi CLI",
        hint="see the lines below, or install Pulumi yourself: https://www.pulumi.com/docs/install/",
        detail="\n".join(f"  {line}" for line in lines[-8:]),
    )
