"""Only the pinned release archive is used."""

import functools
import hashlib
import http.server
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.running import running
from tools.pulumi.archive import ArchiveUnavailableError, fetch_archive

PROGRAM = b"#!/bin/sh\necho v3.255.0\n"


def archive_bytes() -> bytes:
    """Return an archive like Pulumi's, with a member that points outside the target folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("pulumi/pulumi", "pulumi/pulumi-language-python", "../../escaped"):
            member = tarfile.TarInfo(name)
            member.size = len(PROGRAM)
            archive.addfile(member, io.BytesIO(PROGRAM))
        link = tarfile.TarInfo("pulumi/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return packed.getvalue()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Do not log."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A release server on this machine with one archive."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "pulumi.tar.gz").write_bytes(archive_bytes())
    handler = functools.partial(_Quiet, directory=str(folder))
    with running(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as serving:
        yield f"http://127.0.0.1:{serving.server_address[1]}"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "deep" / "target"
    folder.mkdir(parents=True)
    return folder


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_pinned_archive_is_unpacked_without_folders_and_links(server: str, target: Path) -> None:
    fetch_archive(
        target,
        url=f"{server}/pulumi.tar.gz",
        sha256=sha256((target.parents[1] / "served" / "pulumi.tar.gz").read_bytes()),
    )

    assert sorted(path.name for path in target.iterdir()) == ["escaped", "pulumi", "pulumi-language-python"]
    assert (target / "pulumi").read_bytes() == PROGRAM
    assert (target / "pulumi").stat().st_mode & 0o777 == 0o755
    assert not (target.parent / "escaped").exists()


def test_another_checksum_is_an_error_and_leaves_nothing(server: str, target: Path) -> None:
    with pytest.raises(ArchiveUnavailableError, match="not the pinned 0000"):
        fetch_archive(target, url=f"{server}/pulumi.tar.gz", sha256="0" * 64)

    assert list(target.iterdir()) == []


def test_a_missing_archive_is_an_error(server: str, target: Path) -> None:
    with pytest.raises(ArchiveUnavailableError, match=r"missing\.tar\.gz cannot be fetched \(File not found\)"):
        fetch_archive(target, url=f"{server}/missing.tar.gz", sha256="0" * 64)


def test_an_unreachable_server_is_an_error(target: Path) -> None:
    with pytest.raises(ArchiveUnavailableError, match="cannot be fetched"):
        fetch_archive(target, url="http://127.0.0.1:1/pulumi.tar.gz", sha256="0" * 64)
