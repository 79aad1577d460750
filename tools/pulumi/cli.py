"""Which Pulumi CLI this checkout uses, and its environment.

    1. `pulumi` on PATH in a supported version, with its Python language host and its own settings;
    2. the pinned release archive, if the release server can be reached;
    3. one built from Go modules.

The last two are kept in the cache, under a lock. Knows no stack and no backend: infra/automation/backend.py does.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.console import say, step
from core.errors import DeployError
from core.files import write_atomically
from core.paths import CHECKOUT, cache_dir
from core.reading.strict_json import parse_object
from core.waiting.one_at_a_time import one_at_a_time
from tools.pulumi.archive import ArchiveUnavailableError, fetch_archive
from tools.pulumi.build import build_cli, recipe_hash
from tools.pulumi.versions import ARCHIVE_VERSION, ENGINE_VERSION, SUPPORTED_BELOW, SUPPORTED_FROM

LANGUAGE_HOST = "pulumi-language-python"
VERSION_TIMEOUT_S = 30


@dataclass(frozen=True)
class PulumiCli:
    """A Pulumi CLI that can run this project."""

    program: Path
    version: str
    source: Literal["path", "archive", "build"]

    def environment(self) -> dict[str, str]:
        """Return the CLI's environment: this process's, with the project's Python first on PATH.

        A fetched or built CLI keeps its plugins in the cache, and uses the login of an installed CLI.
        """
        environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
        environment.pop("PULUMI_PYTHON_CMD", None)  # would override the project's environment
        environment.pop(
            "PYTHONDONTWRITEBYTECODE", None
        )  # else every run would compile the SDK again, which takes seconds
        venv = CHECKOUT / ".venv"
        folders = [str(venv / "bin"), str(self.program.parent), environment.get("PATH", os.defpath)]
        environment["PATH"] = os.pathsep.join(folders)
        environment["VIRTUAL_ENV"] = str(venv)
        if self.source != "path":
            home = Path(environment.get("PULUMI_HOME") or Path.home() / ".pulumi")
            if (home / "credentials.json").exists():
                environment.setdefault("PULUMI_CREDENTIALS_PATH", str(home))
            environment["PULUMI_HOME"] = str(_folder() / "home")
        return environment


def find_cli() -> PulumiCli:
    """Return the CLI to use. Fetches or builds one if there is none.

    Raises UsageError if this machine cannot build one, DeployError if the build fails.
    """
    return present_cli() or _make()


def present_cli() -> PulumiCli | None:
    """Return the CLI to use; None if it would have to be fetched or built first."""
    return _on_path() or _made()


def parse_version(words: str) -> tuple[int, int, int] | None:
    """Return the version from the output of `pulumi version`, or None."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", words.strip())
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _folder() -> Path:
    return cache_dir() / "pulumi"


def _archive_folder() -> Path:
    return _folder() / f"{ARCHIVE_VERSION}-archive"


def _build_folder() -> Path:
    return _folder() / f"{ENGINE_VERSION}-{recipe_hash()}"


def _on_path() -> PulumiCli | None:
    """Return the CLI on PATH if it can run this project."""
    search = path_without_environment()
    found = shutil.which("pulumi", path=search)
    if found is None:
        return None
    program = Path(found).resolve()
    if program.is_relative_to(_folder().resolve()):
        return None  # fetched or built here; on PATH because of `infra.lifecycle.commands env`
    if shutil.which(LANGUAGE_HOST, path=search) is None and not (program.parent / LANGUAGE_HOST).exists():
        return None
    words = _known_version(program)
    version = parse_version(words)
    if version is None or not SUPPORTED_FROM <= version < SUPPORTED_BELOW:
        return None
    return PulumiCli(Path(found), words, "path")


def path_without_environment() -> str:
    """Return PATH without this checkout's environment: its `pulumi` is the command that asks for the CLI."""
    own = (CHECKOUT / ".venv" / "bin").resolve()
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if Path(folder or ".").resolve() != own)


def _known_version(program: Path) -> str:
    """Return the version of `program`. The answer is cached until the file changes: the program takes 0.4 s."""
    state = program.stat()
    key = [str(program), state.st_mtime_ns, state.st_size]
    note = _folder() / "on-path.json"
    try:
        known = parse_object(note.read_bytes())
        if known["program"] == key:
            return str(known["version"])
    except (OSError, ValueError, KeyError):
        pass
    version = _ask_version(program)
    write_atomically(note, json.dumps({"program": key, "version": version}))
    return version


def _ask_version(program: Path) -> str:
    """Return the output of `pulumi version` without its `v`; empty if it does not run."""
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        done = subprocess.run(
            [str(program), "version"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=VERSION_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().removeprefix("v")


def _made() -> PulumiCli | None:
    """Return the CLI in the cache, if there is one."""
    if (_archive_folder() / "pulumi").exists():
        return PulumiCli(_archive_folder() / "pulumi", ARCHIVE_VERSION, "archive")
    if (_build_folder() / "pulumi").exists():
        return PulumiCli(_build_folder() / "pulumi", ENGINE_VERSION, "build")
    return None


def _make() -> PulumiCli:
    """Fetch or build a CLI; a second process waits for the first and uses its result."""
    with one_at_a_time(_folder() / ".lock", "  another process is fetching the Pulumi CLI; waiting for it"):
        made = _made()
        if made is not None:
            return made
        try:
            with step(f"fetch the Pulumi CLI {ARCHIVE_VERSION} (about 130 MiB, once)", once=True):
                return _install(_archive_folder(), fetch_archive, ARCHIVE_VERSION, "archive")
        except ArchiveUnavailableError as error:
            say(f"  {error}; building from Go modules instead")
        return _install(_build_folder(), build_cli, ENGINE_VERSION, "build")


def _install(
    folder: Path, fill: Callable[[Path], None], version: str, source: Literal["archive", "build"]
) -> PulumiCli:
    """Let `fill` write the programs to a temporary folder, and rename it to `folder` if they run in `version`."""
    staged = Path(tempfile.mkdtemp(dir=_folder(), prefix=".making-"))
    try:
        fill(staged)
        if _ask_version(staged / "pulumi") != version or not (staged / LANGUAGE_HOST).exists():
            raise DeployError(
                f"does not report version {version}", where=f"the Pulumi CLI ({source})", hint="install Pulumi yourself"
            )
        staged.chmod(0o755)
        staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return PulumiCli(folder / "pulumi", version, source)
