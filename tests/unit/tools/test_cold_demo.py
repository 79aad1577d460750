"""The cold demo: what its copy holds, which caches it uses, and what is left when it fails."""

import subprocess
from pathlib import Path

import pytest

from core.errors import DeployError, UsageError
from tools import cold_demo, demo


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a tracked, an ignored, a new and a deleted file, whose `make demo` notes what it was given."""
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
def test_the_copy_holds_what_git_would_commit(tmp_path: Path) -> None:
    cold_demo.copy_checkout(tmp_path / "copy")
    names = {str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert names == {"Makefile", ".gitignore", "sub/tracked", "sub/new"}


def test_a_folder_without_git_is_refused(checkout: Path, tmp_path: Path) -> None:
    for path in sorted((checkout / ".git").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (checkout / ".git").rmdir()
    with pytest.raises(UsageError, match="git cannot list the files"):
        cold_demo.copy_checkout(tmp_path / "copy")


def test_every_cache_is_new_and_nothing_leads_back(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is used lies in a folder that is gone afterwards; without the words of the `make` around it."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(checkout / ".state"))
    monkeypatch.setenv("MAKEFLAGS", "s -- STACK=prod")
    given = cold_demo.environment(Path("/cold"))
    assert not given.keys() & set(cold_demo.OF_THIS_CHECKOUT)
    caches = {name for name, value in given.items() if value.startswith("/cold/")}
    assert caches == {"XDG_CACHE_HOME", "UV_CACHE_DIR", "PIP_CACHE_DIR", "GOCACHE", "GOMODCACHE", "PULUMI_HOME"}


def test_a_demo_that_passed_leaves_nothing(checkout: Path, tmp_path: Path) -> None:
    assert cold_demo.run("ollama", ["--reboot"]) == 0
    assert list((tmp_path / "parent").iterdir()) == []
    assert not (checkout / "words").exists()


def test_a_demo_that_failed_stays_and_says_how_to_remove_it(checkout: Path, tmp_path: Path) -> None:
    (checkout / "fail").write_text("")
    with pytest.raises(DeployError) as failed:
        cold_demo.run("ollama", ["--reboot"])
    (left,) = (tmp_path / "parent").iterdir()
    assert (left / "checkout/words").read_text() == "ollama --reboot\n"
    assert f"`make -C {left}/checkout down STACK=local-ollama; rm -rf {left}`" in failed.value.hint


@pytest.mark.parametrize("words", [["--cold", "--keep"], ["--cold", "--stack", "spare"]])
def test_what_the_copy_cannot_keep_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError, match="--cold takes neither"):
        demo.main(words)
