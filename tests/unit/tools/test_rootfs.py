"""The recipe of the root filesystem of local machines, and when it is built again."""

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


def test_the_same_settings_give_the_same_recipe() -> None:
    assert rootfs.recipe().digest == rootfs.recipe().digest


@pytest.mark.parametrize(
    "change", [{"packages": ("curl",)}, {"certificates": ("A CA",)}, {"sources": ("deb x y z",)}, {"files": ()}]
)
def test_a_change_gives_another_build(change: dict[str, tuple[str, ...]]) -> None:
    recipe = rootfs.recipe()
    assert replace(recipe, **change).digest != recipe.digest  # type: ignore[arg-type]  # fields differ in their items


def test_the_settings_files_have_valid_syntax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        host_settings, "uv_settings", lambda: {"index": [{"url": "https://a.example/", "default": True}]}
    )
    monkeypatch.setattr(host_settings, "pip_settings", lambda: {"index-url": "https://user:50%25@a.example/simple"})
    recipe = rootfs.recipe()
    uv = tomllib.loads(file_of(recipe, "/etc/uv/uv.toml"))
    assert uv["cache-dir"] == "/var/cache/llm-deploy/uv"
    assert uv["index"] == [{"url": "https://a.example/", "default": True}]
    pip = RawConfigParser()
    pip.read_string(file_of(recipe, "/etc/pip.conf"))
    assert pip["global"]["index-url"] == "https://user:50%25@a.example/simple"


def test_only_variables_for_registries_reach_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "PULUMI_ACCESS_TOKEN", "PIP_TOKEN"):
        monkeypatch.setenv(name, "do-not-leak")
    assert not [path for path, content in rootfs.recipe().files if "do-not-leak" in content]


def test_an_interrupted_build_is_never_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(*argv: str) -> None:
        (Path(next(word for word in argv if word.startswith("/"))) / "half").touch()
        raise HostError("mirror is down")

    monkeypatch.setattr(rootfs, "_call", cut_off)
    with pytest.raises(HostError, match="mirror is down"):
        rootfs.ensure_rootfs()
    remains = list((cache / "rootfs").glob(".*.*"))
    assert remains

    monkeypatch.setattr(rootfs, "_call", lambda *_argv: None)
    monkeypatch.setattr(rootfs, "customise", lambda _recipe, root: (root / "whole").touch())
    built = rootfs.ensure_rootfs()
    assert (built / "whole").exists()
    assert not (built / "half").exists()
    assert [path for path in remains if path.exists() and path.is_dir()] == []


def test_old_builds_are_removed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, age_s in (("0000000000000001", rootfs.UNUSED_AFTER_S + 60), ("0000000000000002", 60)):
        (cache / "rootfs" / name).mkdir(parents=True)
        os.utime(cache / "rootfs" / name, (time.time() - age_s,) * 2)
    monkeypatch.setattr(rootfs, "_call", lambda *_argv: None)
    monkeypatch.setattr(rootfs, "customise", lambda _recipe, _root: None)
    built = rootfs.ensure_rootfs()
    assert {path.name for path in (cache / "rootfs").iterdir() if path.is_dir()} == {"0000000000000002", built.name}


def test_two_processes_build_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Path] = []
    monkeypatch.setattr(rootfs, "_call", lambda *_argv: None)
    monkeypatch.setattr(rootfs, "customise", lambda _recipe, root: built.append(root))
    with ThreadPoolExecutor(4) as pool:
        results = {each.result() for each in [pool.submit(rootfs.ensure_rootfs) for _ in range(4)]}
    assert len(results) == len(built) == 1


def test_the_error_of_a_failed_step_has_its_output() -> None:
    with pytest.raises(HostError, match="sh ended with status 3") as failure:
        rootfs._call("sh", "-c", "echo 'E: no such mirror' >&2; exit 3")
    assert failure.value.detail == "E: no such mirror"
