#!/usr/bin/env python3
"""Unpack an Ollama release archive into its own folder, which gets its final name only after its program has run.

    ollama-release ARCHIVE FOLDER VERSION [--check]

ARCHIVE is a .tar.zst or .tar.gz with bin/ollama in it; its checksum was verified before. Exits 0 if FOLDER has the
release. Moves no link and starts nothing. Keeps the folders beside FOLDER.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAM = "bin/ollama"
RUN_S = 60
TAIL_LINES = 5


class ReleaseError(Exception):
    """An error that the reader of the log can correct."""


def unpack(archive: Path, folder: Path) -> None:
    """Unpack `archive` into `folder`. Raises ReleaseError with tar's last line."""
    options = ["--zstd"] if archive.name.endswith(".zst") else ["--gzip"]
    done = subprocess.run(
        ["tar", *options, "-xf", str(archive), "-C", str(folder), "--no-same-owner", "--no-same-permissions"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ReleaseError("tar cannot unpack {}: {}".format(archive, " ".join(done.stdout.split("\n")[-TAIL_LINES:])))


def check_version(folder: Path, version: str) -> None:
    """Raise ReleaseError unless the program in `folder` runs on this machine and reports `version`."""
    environment = {"HOME": str(folder), "PATH": os.defpath, "OLLAMA_HOST": "127.0.0.1:1"}  # no server answers here
    try:
        done = subprocess.run(
            [str(folder / PROGRAM), "--version"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=RUN_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ReleaseError(f"{PROGRAM} of the archive does not run on this host ({error})") from error
    if version not in done.stdout.split():
        said = done.stdout.strip() or "nothing"
        raise ReleaseError(f"the archive does not hold version {version}: its program says {said!r}")


def main(archive: str, folder: str, version: str, *rest: str) -> int:
    """Unpack or check; return the exit status."""
    wanted = Path(folder)
    if "--check" in rest:
        return 0 if (wanted / PROGRAM).is_file() else 1
    os.umask(0o022)
    staged = wanted.with_name("." + wanted.name + ".unpacking")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    try:
        unpack(Path(archive), staged)
        check_version(staged, version)
        shutil.rmtree(wanted, ignore_errors=True)  # its program was removed
        staged.replace(wanted)
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
