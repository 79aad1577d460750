#!/usr/bin/env python3
"""Unpack a release archive of Ollama into a folder of its own, which gets its name only when its program runs.

    ollama-release ARCHIVE FOLDER VERSION [--check]

ARCHIVE is a .tar.zst or .tar.gz with bin/ollama in it, its checksum looked at before. Exits 0 when FOLDER has it. Moves
no link and starts nothing. Folders beside FOLDER stay.
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
    """What the person who reads the log can mend."""


def unpack(archive: Path, folder: Path) -> None:
    """Write what is in `archive` to `folder`. Raises ReleaseError with tar's last words."""
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
    """Raise ReleaseError unless the program in `folder` runs on this machine and is of `version`."""
    environment = {"HOME": str(folder), "PATH": os.defpath, "OLLAMA_HOST": "127.0.0.1:1"}  # there is nobody to ask
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
        shutil.rmtree(wanted, ignore_errors=True)  # somebody took its program away
        staged.replace(wanted)
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
