"""What goes into the root filesystem of local machines, and when it is built anew."""

import os
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from configparser import RawConfigParser
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import HostError
from tools import host_settings, rootfs


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(rootfs, "ensure_host_packages", lambda: None)
    return tmp_path / "llm-deploy"


def file_of(recipe: rootfs.Recipe, path: str) -> str:
    return dict(recipe.files)[path]


def test_the_same_host_gives_the_same_recipe() -> None:
    assert rootfs.recipe().digest == rootfs.recipe().digest


@pytest.mark.parametrize(
    "change", [{"packages": ("curl",)}, {"certificates": ("A CA",)}, {"sources": ("deb x y z",)}, {"files": ()}]
)
def test_whatever_changes_gives_another_build(change: dict[str, tuple[str, ...]]) -> None:
    wanted = rootfs.recipe()
    assert replace(wanted, **change).digest != wanted.digest  # type: ignore[arg-type]  # fields differ in their items


def test_the_settings_are_files_that_their_readers_understand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        host_settings, "uv_settings", lambda: {"index": [{"url": "https://a.example/", "default": True}]}
    )
    monkeypatch.setattr(host_settings, "pip_settings", lambda: {"index-url": "https://user:50%25@a.example/simple"})
    wanted = rootfs.recipe()
    uv = tomllib.loads(file_of(wanted, "/etc/uv/uv.toml"))
    assert uv["cache-dir"] == "/var/cache/llm-deploy/uv"
    assert uv["index"] == [{"url": "https://a.example/", "default": True}]
    pip = RawConfigParser()
    pip.read_string(file_of(wanted, "/etc/pip.conf"))
    assert pip["global"]["index-url"] == "https://user:50%25@a.example/simple"


def test_no_variable_but_the_ones_for_registries_reaches_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "PULUMI_ACCESS_TOKEN", "PIP_TOKEN"):
        monkeypatch.setenv(name, "do-not-leak")
    assert not [path for path, content in rootfs.recipe().files if "do-not-leak" in content]


def test_a_cut_off_build_is_never_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(*argv: str) -> None:
        (Path(next(word for word in argv if word.startswith("/"))) / "half").touch()
        raise HostError("mirror is away")

    monkeypatch.setattr(rootfs, "_call", cut_off)
    with pytest.raises(HostError, match="mirror is away"):
        rootfs.ensure_rootfs()
    remains = list((cache / "rootfs").glob(".*.*"))
    assert remains

    monkeypatch.setattr(rootfs, "_call", lambda *_argv: None)
    monkeypatch.setattr(rootfs, "customise", lambda _wanted, root: (root / "whole").touch())
    built = rootfs.ensure_rootfs()
    assert (built / "whole").exists()
    assert not (built / "half").exists()
    assert [path for path in remains if path.exists() and path.is_dir()] == []


def test_builds_that_nobody_uses_any_more_go(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, age_s in (("0000000000000001", rootfs.UNUSED_AFTER_S + 60), ("0000000000000002", 60)):
        (cache / "rootfs" / name).mkdir(parents=True)
        os.utime(cache / "rootfs" / name, (time.time() - age_s,) * 2)
    monkeypatch.setattr(rootfs, "_call", lambda *_argv: None)
    monkeypatch.setattr(rootfs, "customise", lambda _wanted, _root: None)
    built = rootfs.ensure_rootfs()
    assert {path.name for path in (cache / "rootfs").iterdir() if path.is_dir()} == {"0000000000000002", built.name}


def test_two_at_once_build_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Path] = []
    monkeypatch.setattr(rootfs, "_call", lambda *_argv: None)
    monkeypatch.setattr(rootfs, "customise", lambda _wanted, root: built.append(root))
    with ThreadPoolExecutor(4) as pool:
        results = {each.result() for each in [pool.submit(rootfs.ensure_rootfs) for _ in range(4)]}
    assert len(results) == len(built) == 1


def test_a_failed_step_is_told_with_what_it_printed() -> None:
    with pytest.raises(HostError, match="sh ended with status 3") as failure:
        rootfs._call("sh", "-c", "echo 'E: no such mirror' >&2; exit 3")
    assert failure.value.detail == "E: no such mirror"
