"""A download for a bundle: kept when it is cut off, gone on with the next time, and never waited for without an end."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import DeployError
from provisioning.offline import downloads
from provisioning.offline.downloads import downloaded
from tests.doubles.hub import REPO, REVISION, HubDouble, running_hub

ENGINE = b"engine" * 1000
SHA256 = hashlib.sha256(ENGINE).hexdigest()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    """Any web server that takes ranges."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running_hub(HubDouble({"engine.tar": ENGINE})) as double:
        yield double


def fetch(hub: HubDouble) -> Path:
    return downloaded(f"{hub.url}/{REPO}/resolve/{REVISION}/engine.tar", SHA256)


def test_interrupted_download_is_resumed(hub: HubDouble) -> None:
    hub.cut_after["engine.tar"] = 100
    with pytest.raises(DeployError, match="cut off at 100 of 6000 bytes; run it again"):
        fetch(hub)
    assert fetch(hub).read_bytes() == ENGINE
    assert fetch(hub).read_bytes() == ENGINE
    assert [wanted for _, wanted in hub.downloads] == ["", "bytes=100-"]


def test_download_with_a_wrong_part_starts_again(hub: HubDouble) -> None:
    hub.cut_after["engine.tar"] = 100
    hub.corrupt.add("engine.tar")
    with pytest.raises(DeployError, match="cut off"):
        fetch(hub)
    hub.corrupt.clear()
    with pytest.raises(DeployError, match="has SHA-256"):
        fetch(hub)
    assert fetch(hub).read_bytes() == ENGINE


def test_a_server_that_says_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(downloads, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DeployError, match="timed out"):
        downloaded(f"http://127.0.0.1:{silent.getsockname()[1]}/engine.tar", SHA256)
