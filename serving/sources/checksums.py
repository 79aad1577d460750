"""Check a folder of this computer against its SHA256SUMS, whose own checksum is pinned.

Buckets and web servers have the same list, and the host checks it: provisioning/programs/fetch/llm_fetch/listed.py.
"""

import re
from pathlib import Path

from core.errors import ConfigError
from core.files import sha256_of
from core.reading.regular_files import files_below, read_small

LIST = "SHA256SUMS"

LINE = re.compile(r"([0-9a-f]{64}) [ *](?:\./)?(.+)")


def check_listed(folder: Path, sha256: str, *, key: str) -> None:
    """Raise ConfigError unless the list is the pinned one and the folder has exactly the listed files.

    Reads all files. Hidden files are ignored, as in `sha256sum *`.
    """
    sums = _sums(folder, sha256, key=key)
    for name, listed in sums.items():
        path = folder / name
        if not path.is_file():
            raise ConfigError(
                f"{folder} has no {name}, which its {LIST} lists", where=f"{key}.path", hint="get it again"
            )
        if sha256_of(path) != listed:
            what = f"{path} does not have the checksum in {LIST}"
            raise ConfigError(what, where=f"{key}.path", hint="get it again")
    more = sorted(set(files_below(folder)) - {*sums, LIST})
    if more:
        what = f"{folder} has {more[0]}, which its {LIST} does not list"
        raise ConfigError(what, where=f"{key}.path", hint="remove it, or list it and write the list's new checksum")


def _sums(folder: Path, sha256: str, *, key: str) -> dict[str, str]:
    """Return the SHA-256 of each file by name."""
    where, path = f"{key}.sha256", folder / LIST
    if not path.is_file():
        raise ConfigError(
            f"{folder} has no {LIST}", where=where, hint=f"run sha256sum * > {LIST} in it, or leave it out"
        )
    found = sha256_of(path)
    if found != sha256:
        what = f"{path} has SHA-256 {found}, not the pinned one"
        raise ConfigError(what, where=where, hint="get the folder again, or write the new checksum")
    lines = [LINE.fullmatch(line) for line in read_small(path).decode(errors="replace").splitlines() if line.strip()]
    if not lines or not all(lines):
        raise ConfigError(f"{path} is not a list of checksums", where=where, hint="write it with sha256sum")
    return {line[2]: line[1] for line in lines if line and line[2] != LIST}
