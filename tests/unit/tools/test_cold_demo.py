"""The cold demo: the files in its copy, its caches, and the copy after a failure."""

import subprocess
from pathlib import Path

import pytest

from core.errors import DeployError, UsageError
from tools import cold_demo, demo


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a tracked, an ignored, a new and a deleted file, whose `make demo` records its arguments."""
    folder = tmp_path / "checkout"
    (folder / "sub").mkdir(parents=True)
    for name, text in {
        "Makefile": "demo:\n\t@env >environment; echo '$(ENGINE) $(ARGS)' >words; test ! -e fail\n",
        ".gitignore": ".venv\n",
        ".venv": "",
        "sub/tracked": "",
        "deleted": "",
    }.items():
        (folder / name).write_text(text)
    for command in (["init", "-q"], ["add", "--all"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    (folder / "sub/new").write_text("")
    (folder / "deleted").unlink()
    (tmp_path / "parent").mkdir()
    monkeypatch.setattr(cold_demo, "CHECKOUT", folder)
    monkeypatch.setattr(cold_demo, "PARENT", tmp_path / "parent")
    return folder


@pytest.mark.usefixtures("checkout")
def test_the_copy_has_the_files_that_git_would_commit(tmp_path: Path) -> None:
    cold_demo.copy_checkout(tmp_path / "copy")
    names = {str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert names == {"Makefile", ".gitignore", "sub/tracked", "sub/new"}


def test_a_folder_without_git_is_an_error(checkout: Path, tmp_path: Path) -> None:
    for path in sorted((checkout / ".git").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (checkout / ".git").rmdir()
    with pytest.raises(UsageError, match="git cannot list the files"):
        cold_demo.copy_checkout(tmp_path / "copy")


def test_all_caches_are_new_and_inside_the_copy(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does the copy inherit the variables of the `make` that runs it."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(checkout / ".state"))
    monkeypatch.setenv("MAKEFLAGS", "s -- STACK=prod")
    given = cold_demo.environment(Path("/cold"))
    assert not given.keys() & set(cold_demo.OF_THIS_CHECKOUT)
    caches = {name for name, value in given.items() if value.startswith("/cold/")}
    assert caches == {"XDG_CACHE_HOME", "UV_CACHE_DIR", "PIP_CACHE_DIR", "GOCACHE", "GOMODCACHE", "PULUMI_HOME"}


def test_a_copy_is_removed_after_success(checkout: Path, tmp_path: Path) -> None:
    assert cold_demo.run("ollama", ["--reboot"]) == 0
    assert list((tmp_path / "parent").iterdir()) == []
    assert not (checkout / "words").exists()


def test_a_copy_stays_after_a_failure_and_the_error_names_the_cleanup(checkout: Path, tmp_path: Path) -> None:
    (checkout / "fail").write_text("")
    with pytest.raises(DeployError) as failed:
        cold_demo.run("ollama", ["--reboot"])
    (left,) = (tmp_path / "parent").iterdir()
    assert (left / "checkout/words").read_text() == "ollama --reboot\n"
    assert f"`make -C {left}/checkout down STACK=local-ollama; rm -rf {left}`" in failed.value.hint


@pytest.mark.parametrize("words", [["--cold", "--keep"], ["--cold", "--stack", "spare"]])
def test_keep_and_stack_are_errors(words: list[str]) -> None:
    with pytest.raises(UsageError, match="--cold removes its copy"):
        demo.main(words)
