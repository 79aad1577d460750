"""The installer's checks, before it changes anything: manifest, files, host, secrets."""

import hashlib
import importlib.util
import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from provisioning.converge.agent.main import EXIT_CUT
from provisioning.offline.bundle import INSTALLER_DIR, MANIFEST


class Unpacked:
    """A bundle with two files as it lies on a host, and its installer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in {"install.py": (INSTALLER_DIR / "install.py").read_text(), "blobs/a": "weights"}.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        spec = importlib.util.spec_from_file_location("install", folder / "install.py")
        assert spec is not None
        assert spec.loader is not None
        self.installer: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.installer)
        files = {name: self.entry(name) for name in ("install.py", "blobs/a")}
        self.manifest = {"os_release": "debian-12", "arch": "x86_64", "hosts": ["one", "two"], "files": files}
        (folder / MANIFEST).write_text(json.dumps(self.manifest))
        self.sha256 = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()

    def entry(self, name: str) -> list[str | int]:
        data = (self.folder / name).read_bytes()
        return [hashlib.sha256(data).hexdigest(), len(data)]


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Unpacked:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return Unpacked(tmp_path)


def test_a_whole_bundle_passes(unpacked: Unpacked) -> None:
    assert unpacked.installer.verified_manifest(unpacked.sha256) == unpacked.manifest
    unpacked.installer.verify_files(unpacked.manifest)


def test_another_manifest_is_refused(unpacked: Unpacked) -> None:
    (unpacked.folder / MANIFEST).write_text(json.dumps({**unpacked.manifest, "hosts": ["three"]}))
    with pytest.raises(unpacked.installer.Refused, match="this is another bundle, or it was changed"):
        unpacked.installer.verified_manifest(unpacked.sha256)


def test_a_changed_file_is_refused(unpacked: Unpacked) -> None:
    (unpacked.folder / "blobs/a").write_text("WEIGHTS")
    with pytest.raises(unpacked.installer.Refused, match="blobs/a is missing or differs from the manifest"):
        unpacked.installer.verify_files(unpacked.manifest)


def test_a_missing_file_is_refused(unpacked: Unpacked) -> None:
    (unpacked.folder / "blobs/a").unlink()
    with pytest.raises(unpacked.installer.Refused, match="blobs/a is missing"):
        unpacked.installer.verify_files(unpacked.manifest)


@pytest.mark.parametrize("link", [False, True], ids=["file", "link"])
def test_a_file_that_came_along_is_refused(unpacked: Unpacked, link: bool) -> None:
    stranger = unpacked.folder / "stranger.deb"
    if link:
        stranger.symlink_to("/etc/passwd")
    else:
        stranger.write_text("x")
    with pytest.raises(unpacked.installer.Refused, match=r"stranger.deb is not in the manifest"):
        unpacked.installer.verify_files(unpacked.manifest)


def test_a_link_in_place_of_a_file_is_refused(unpacked: Unpacked) -> None:
    (unpacked.folder / "blobs/a").rename(unpacked.folder.parent / "elsewhere")
    (unpacked.folder / "blobs/a").symlink_to(unpacked.folder.parent / "elsewhere")
    with pytest.raises(unpacked.installer.Refused, match="blobs/a is missing or differs from the manifest"):
        unpacked.installer.verify_files(unpacked.manifest)


def test_one_of_several_hosts_must_be_named(unpacked: Unpacked) -> None:
    assert unpacked.installer.chosen_host(unpacked.manifest, "two") == "two"
    with pytest.raises(unpacked.installer.Refused, match="write --host with one of one, two"):
        unpacked.installer.chosen_host(unpacked.manifest, "")
    assert unpacked.installer.chosen_host({"hosts": ["only"]}, "") == "only"


def test_secrets_are_filled_in_from_their_file(unpacked: Unpacked, tmp_path: Path) -> None:
    document = {"resources": [{"id": "file:/k", "content": {"secret_key": "0"}, "after": ["a"]}]}
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({"one": {"0": "hush"}}))
    filled = unpacked.installer.with_secrets(document, "one", str(path))
    assert filled == {"resources": [{"id": "file:/k", "content": {"secret": "hush"}, "after": ["a"]}]}
    with pytest.raises(unpacked.installer.Refused, match="holds no secrets for two"):
        unpacked.installer.with_secrets(document, "two", str(path))
    with pytest.raises(unpacked.installer.Refused, match="--secrets"):
        unpacked.installer.with_secrets(document, "one", "")


def test_package_managers_are_pointed_at_the_bundle_only(unpacked: Unpacked, tmp_path: Path) -> None:
    (tmp_path / "apt").mkdir()
    environment = unpacked.installer.sources(tmp_path / "apt")
    assert environment["PIP_NO_INDEX"] == "1"
    settings = tomllib.loads(Path(environment["UV_CONFIG_FILE"]).read_text())
    assert settings["no-index"]
    assert settings["find-links"] == [environment["PIP_FIND_LINKS"]] == [f"{unpacked.folder}/wheels"]
    assert 'Dir::Etc::sourceparts "-";' in Path(environment["APT_CONFIG"]).read_text()
    assert f"file:{unpacked.folder}/debs" in (tmp_path / "apt/sources.list").read_text()


def test_apts_error_is_shown_when_it_fails(unpacked: Unpacked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "apt-get").write_text("#!/bin/sh\necho 'W: a warning' >&2\necho 'E: no space left' >&2\nexit 100\n")
    (programs / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(unpacked.installer.Refused, match=r"apt-get update: E: no space left$"):
        unpacked.installer.run_agent({}, "plan", "one")


AGENT = """
import json
print(json.dumps({"event": "resource", "id": "command:d", "status": "changed", "reboot": "driver 2 in use"}))
print(json.dumps({"event": "resource", "id": "unit:e", "status": "skipped", "error": "depends on a reboot"}))
raise SystemExit(1)
"""


def test_needed_reboot_is_reported(
    unpacked: Unpacked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(unpacked.installer, "read_packages", lambda _: None)
    (unpacked.folder / "agent.pyz").write_text(AGENT)
    assert unpacked.installer.run_agent({}, "apply", "one") == 1
    reported = capsys.readouterr()
    assert "1 changed, 1 skipped" in reported.out
    assert reported.err.endswith("one: driver 2 in use; reboot this host, then run the same command again\n")


def test_ctrl_c_is_left_to_the_agent_which_stops_where_that_is_safe(
    unpacked: Unpacked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(unpacked.installer, "read_packages", lambda _: None)
    text = f"import os, signal\nos.kill({os.getpid()}, signal.SIGINT)\nraise SystemExit({EXIT_CUT})\n"
    (unpacked.folder / "agent.pyz").write_text(text)
    assert unpacked.installer.run_agent({}, "apply", "one") == 130
    assert capsys.readouterr().err == "one: interrupted; run the same command again to finish\n"
