"""The built program in the cache, packed like a release of Ollama: `bin/ollama` in a tar.zst."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from core.errors import DeployError
from core.paths import cache_dir
from core.waiting.one_at_a_time import one_at_a_time
from tools.ollama.build import build_ollama, recipe_hash
from tools.ollama.versions import BUILT_VERSION

ARCHIVE = "ollama.tar.zst"
FACTS = "facts.json"
VERSION_TIMEOUT_S = 60


@dataclass(frozen=True)
class BuiltArchive:
    """An archive on this machine."""

    folder: Path
    """Contains only the archive."""
    version: str
    sha256: str

    @property
    def path(self) -> Path:
        """The archive."""
        return self.folder / ARCHIVE


def built_archive() -> BuiltArchive:
    """Return the archive. Builds it if the cache does not have it; a second process waits for the first."""
    made = _folder() / f"{BUILT_VERSION}-{recipe_hash()}"
    if not made.exists():
        with one_at_a_time(_folder() / ".lock", "  another process is building Ollama; waiting for it"):
            if not made.exists():
                _make(made)
    facts = json.loads((made / FACTS).read_text())
    return BuiltArchive(made / "archive", BUILT_VERSION, facts["sha256"])


def pack(program: Path, archive: Path) -> str:
    """Write `archive` with `program` in it and return its SHA-256. The same program gives the same bytes."""
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo("bin/ollama")
        entry.size, entry.mode = program.stat().st_size, 0o755
        with program.open("rb") as content:
            tar.addfile(entry, content)
    done = subprocess.run(
        ["zstd", "--quiet", "-3", "--stdout"], input=tarred.getvalue(), capture_output=True, check=False
    )
    if done.returncode:
        raise DeployError(f"zstd failed: {done.stderr.decode().strip()}", where=str(archive))
    archive.write_bytes(done.stdout)
    return hashlib.sha256(done.stdout).hexdigest()


def _make(target: Path) -> None:
    """Build and pack in a temporary folder, and rename it to `target` after the program has run."""
    staged = Path(tempfile.mkdtemp(dir=_folder(), prefix=".making-"))
    try:
        program = staged / "ollama"
        build_ollama(program, _folder() / "include")
        _check_version(program)
        (staged / "archive").mkdir()
        sha256 = pack(program, staged / "archive" / ARCHIVE)
        (staged / FACTS).write_text(json.dumps({"sha256": sha256}) + "\n")
        program.unlink()
        staged.chmod(0o755)
        staged.rename(target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _check_version(program: Path) -> None:
    done = subprocess.run(
        [str(program), "--version"], capture_output=True, text=True, check=False, timeout=VERSION_TIMEOUT_S
    )
    if BUILT_VERSION not in done.stdout + done.stderr:
        raise DeployError(f"the built program does not report version {BUILT_VERSION}", where="tools/ollama")


def _folder() -> Path:
    return cache_dir() / "ollama"
