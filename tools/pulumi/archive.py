"""The official release archive of the Pulumi CLI, used only when it matches the checksum pinned here.

Does not choose the CLI: tools/pulumi/cli.py calls this if none is installed, and builds one if this fails.
"""

import hashlib
import http.client
import platform
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from core.console import say
from tools.pulumi.versions import ARCHIVE_SHA256, ARCHIVE_URL, ARCHIVE_VERSION

ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}
"""`platform.machine()` and its name in the archives' file names."""

CHUNK_BYTES = 1 << 20
PROGRESS_EVERY_S = 5.0
SERVER_TIMEOUT_S = 15


class ArchiveUnavailableError(Exception):
    """The archive cannot be fetched, or is not the pinned one; the text says which."""


def fetch_archive(target: Path, *, url: str | None = None, sha256: str | None = None) -> None:
    """Fetch the pinned archive and unpack its programs into `target`. Raises ArchiveUnavailableError.

    Tests pass `url` and `sha256` of another archive.
    """
    architecture = ARCHITECTURES.get(platform.machine(), "")
    sha256 = sha256 or ARCHIVE_SHA256.get(architecture)
    if platform.system() != "Linux" or sha256 is None:
        raise ArchiveUnavailableError(f"there is no pinned archive for {platform.system()} on {platform.machine()}")
    url = url or ARCHIVE_URL.format(version=ARCHIVE_VERSION, arch=architecture)
    packed = target / "archive.tar.gz"
    found = _download(url, packed)
    if found != sha256:
        packed.unlink()
        raise ArchiveUnavailableError(f"{url} has SHA-256 {found}, not the pinned {sha256}; it was deleted")
    _unpack(packed, target)
    packed.unlink()


def _download(url: str, path: Path) -> str:
    """Download `url` to `path`, print the progress, and return the SHA-256."""
    digest = hashlib.sha256()
    done_bytes, printed = 0, time.monotonic()
    try:
        with urllib.request.urlopen(url, timeout=SERVER_TIMEOUT_S) as answer, path.open("wb") as file:  # noqa: S310
            size = int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                done_bytes += len(chunk)
                if time.monotonic() - printed > PROGRESS_EVERY_S:
                    printed = time.monotonic()
                    say(f"  {done_bytes >> 20} of {size >> 20 or '?'} MiB")
    except urllib.error.URLError as error:
        raise ArchiveUnavailableError(f"{url} cannot be fetched ({error.reason})") from error
    except (http.client.HTTPException, OSError) as error:
        raise ArchiveUnavailableError(f"{url} cannot be fetched ({error})") from error
    return digest.hexdigest()


def _unpack(packed: Path, target: Path) -> None:
    """Unpack the programs in `packed` to `target`, without folders, links and owners."""
    with tarfile.open(packed) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if content is None:
                continue
            program = target / Path(member.name).name
            with program.open("wb") as file:
                while chunk := content.read(CHUNK_BYTES):
                    file.write(chunk)
            program.chmod(0o755)
