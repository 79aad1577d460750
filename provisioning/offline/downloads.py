"""Downloads for a bundle, kept in the cache. An interrupted download is resumed, and the hash is checked."""

from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from core.console import step
from core.errors import DeployError
from core.files import sha256_of
from core.paths import cache_dir

TIMEOUT_S = 60
"""How long a server may send nothing."""
BLOCK_BYTES = 1 << 20
AGAIN = "run it again"


def downloaded(url: str, sha256: str) -> Path:
    """Return the file of a URL from the cache; download it first if it is missing.

    Raises DeployError if the download is incomplete (the part is kept) or has another hash.
    """
    path = cache_dir() / "bundle" / "downloads" / sha256
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with step(f"fetch {url}"):
        try:
            _go_on(url, part)
        except HTTPError as error:
            hint = "is the address right, and open to this computer?"
            raise DeployError(f"cannot be fetched ({error})", where=url, hint=hint) from error
        except (OSError, HTTPException) as error:
            raise DeployError(f"cannot be fetched ({error})", where=url, hint=AGAIN) from error
    found = sha256_of(part)
    if found != sha256:
        part.unlink()
        hint = "the server has another file than the pinned one: find out why before you change the pin"
        raise DeployError(f"has SHA-256 {found}, not {sha256}", where=url, hint=hint)
    return part.replace(path)


def _go_on(url: str, part: Path) -> None:
    """Append the rest of the file to `part`. Raises DeployError if the server ends early."""
    have = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310  # hash checked
    try:
        answer = urlopen(request, timeout=TIMEOUT_S)  # noqa: S310  # hash checked
    except HTTPError as error:
        if have and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # complete already: interrupted between the last byte and the check of the hash
        raise
    with answer, part.open("ab") as stream:
        if answer.status != HTTPStatus.PARTIAL_CONTENT:  # the server sends the file from its start
            stream.truncate(0)
            have = 0
        total = have + int(answer.headers.get("Content-Length") or 0)
        while block := answer.read(BLOCK_BYTES):
            stream.write(block)
            have += len(block)
    if have < total:
        raise DeployError(f"cut off at {have} of {total} bytes", where=url, hint=AGAIN)
