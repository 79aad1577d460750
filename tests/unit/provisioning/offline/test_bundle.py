"""The archive: nobody else reads it while it is written, and the host looks at it before it unpacks it."""

import json
import platform
import re
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from core.errors import UsageError
from provisioning.converge.resources import File, Resource, Secret
from provisioning.hosts.target import Target
from provisioning.offline import bundle as module
from provisioning.offline import debs, releases
from provisioning.offline.bundle import make_bundle, write_bundle
from provisioning.offline.releases import RELEASES
from tests.unit.provisioning.records import host_values, stack

KEY = File(path="/etc/key.pem", content=Secret("-----BEGIN PRIVATE KEY-----"), mode=0o600)
RELEASE = RELEASES["debian-12"]


@pytest.fixture(autouse=True)
def _without_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the Debian packages out: a registry would be asked for them."""

    def none(*_: Any) -> Sequence[Any]:
        return ()

    monkeypatch.setattr(debs, "packages", none)
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_nobody_else_reads_the_archive_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = tmp_path / ".prod.tar.part"
    staged.write_text("of a run that was cut off")
    staged.chmod(0o644)
    modes: set[int] = set()
    addfile = tarfile.TarFile.addfile

    def seen(archive: tarfile.TarFile, *words: Any) -> None:
        modes.add(staged.stat().st_mode & 0o777)
        addfile(archive, *words)

    monkeypatch.setattr(tarfile.TarFile, "addfile", seen)
    lists: dict[str, list[Resource]] = {"one": [KEY]}
    made = write_bundle(lists, stack(), RELEASE, tmp_path / "prod.tar", with_secrets=True)
    assert modes == {0o600}
    assert made.archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(made.archive) as archive:
        assert "prod/lists/one.json" in archive.getnames()
    assert not staged.exists()


def test_no_host_gets_the_secrets_of_another(tmp_path: Path) -> None:
    """All were in one file, a provider's key beside the keys of the engines' hosts."""
    keys = {name: f"the key of {name}" for name in ("one", "other")}
    lists = {name: [File(path="/etc/key", content=Secret(key), mode=0o600)] for name, key in keys.items()}
    outputs = stack(*(host_values(name) for name in keys))
    made = write_bundle(lists, outputs, RELEASE, tmp_path / "prod.tar", with_secrets=False)
    assert {name: path.name for name, path in made.secrets.items()} == {
        "one": "prod.one.secrets.json",
        "other": "prod.other.secrets.json",
    }
    for name, path in made.secrets.items():
        assert path.stat().st_mode & 0o777 == 0o600
        assert json.loads(path.read_text()) == {name: {"0": keys[name]}}


def test_the_next_command_looks_at_the_archive_before_it_unpacks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "prod.tar"
    monkeypatch.setattr(module, "load", lambda _: stack())
    target, out = Target(stack="test"), str(archive)
    options: dict[str, Any] = {"names": (), "roles": ["base"], "out": out, "kernels": (), "with_secrets": False}
    assert make_bundle(target, os_release="debian-12", **options) == 0
    (_, command) = capsys.readouterr().err.split("next: on the host: ")
    look, unpack, install = command.strip().split(" && ")
    assert unpack == "tar -xf prod.tar"
    assert install.startswith("prod/install.sh --manifest ")

    def looked() -> int:
        return subprocess.run(("sh", "-c", look), cwd=tmp_path, capture_output=True, check=False).returncode

    assert looked() == 0
    with archive.open("ab") as stream:
        stream.write(b"x")
    assert looked() != 0


@pytest.mark.parametrize(("names", "option"), [(("one",), ""), (("one", "other"), " --host NAME")])
def test_the_next_command_says_that_a_bundle_for_several_hosts_needs_a_host(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    names: Sequence[str],
    option: str,
) -> None:
    """As printed it was refused on every host of a pool."""
    monkeypatch.setattr(module, "load", lambda _: stack(*(host_values(name) for name in names)))
    options: dict[str, Any] = {"roles": ["base"], "out": str(tmp_path / "prod.tar"), "kernels": (), "names": ()}
    assert make_bundle(Target(stack="test"), os_release="debian-12", with_secrets=False, **options) == 0
    assert re.search(r"--manifest \w+(.*)\n", capsys.readouterr().err)[1] == option  # type: ignore[index]


def test_missing_key_of_the_distribution_fails_before_models_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: Any) -> None:
        pytest.fail("models were fetched")

    monkeypatch.setattr(module, "load", lambda _: stack())
    monkeypatch.setattr(module, "desired_state", fetch)
    monkeypatch.setattr(platform, "freedesktop_os_release", dict)
    monkeypatch.setattr(releases, "UBUNTU_KEYRING", "/nonexistent.gpg")
    with pytest.raises(UsageError, match=r"ubuntu-24.04: there is no /nonexistent\.gpg"):
        make_bundle(
            Target(stack="test"),
            names=(),
            roles=["base"],
            out=str(tmp_path / "one.tar"),
            os_release="ubuntu-24.04",
            kernels=(),
            with_secrets=False,
        )
