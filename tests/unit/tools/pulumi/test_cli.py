"""Which Pulumi CLI is used, and in which environment."""

import os
from pathlib import Path

import pytest

from core.errors import UsageError
from tools.pulumi import build, cli
from tools.pulumi.archive import ArchiveUnavailableError
from tools.pulumi.cli import PulumiCli, find_cli, parse_version
from tools.pulumi.versions import ENGINE_VERSION


def write_program(path: Path, output: str = "") -> None:
    """Write a program that prints `output`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{output}'\n")
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an empty PATH, an empty cache and no release server."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("PULUMI_HOME", "PULUMI_CREDENTIALS_PATH", "PULUMI_PYTHON_CMD"):
        monkeypatch.delenv(name, raising=False)

    def no_server(_target: Path) -> None:
        raise ArchiveUnavailableError("no way to the release server")

    monkeypatch.setattr(cli, "fetch_archive", no_server)
    return tmp_path


def installed(machine: Path, version: str, *, language_host: bool = True) -> Path:
    """Install a Pulumi that reports this version; return its program."""
    write_program(machine / "bin" / "pulumi", version)
    if language_host:
        write_program(machine / "bin" / "pulumi-language-python")
    return machine / "bin" / "pulumi"


def build_nothing(target: Path) -> None:
    write_program(target / "pulumi", f"v{ENGINE_VERSION}")
    write_program(target / "pulumi-language-python")


@pytest.mark.parametrize(
    ("words", "version"),
    [
        ("v3.258.0\n", (3, 258, 0)),
        ("3.150.1-alpha.0+dirty", (3, 150, 1)),
        ("", None),
        ("command not found", None),
    ],
)
def test_parses_the_version_that_the_cli_prints(words: str, version: tuple[int, int, int] | None) -> None:
    assert parse_version(words) == version


def test_an_installed_cli_in_a_supported_version_is_used(machine: Path) -> None:
    program = installed(machine, "v3.240.0")

    found = find_cli()

    assert found == PulumiCli(program, "3.240.0", "path")
    assert "PULUMI_HOME" not in found.environment()


def test_the_command_of_an_activated_environment_is_not_taken_for_the_cli(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`.venv/bin/pulumi` asks for the CLI: it would find itself."""
    program = installed(machine, "v3.240.0")
    monkeypatch.setattr(cli, "CHECKOUT", machine / "checkout")
    write_program(machine / "checkout" / ".venv" / "bin" / "pulumi", "v3.240.0")
    (machine / "link").symlink_to(machine / "checkout" / ".venv")
    monkeypatch.setenv("PATH", f"{machine}/link/bin:{os.environ['PATH']}")

    assert find_cli().program == program


def test_an_installed_cli_is_asked_for_its_version_once(machine: Path) -> None:
    program = installed(machine, "v3.240.0")
    find_cli()
    state = program.stat()
    program.write_text(program.read_text().replace("3.240.0", "9.999.9"))
    os.utime(program, ns=(state.st_atime_ns, state.st_mtime_ns))

    assert find_cli().version == "3.240.0"


@pytest.mark.parametrize(
    ("version", "language_host"),
    [("v3.219.0", True), ("v4.0.0", True), ("v3.240.0", False), ("broken", True)],
    ids=["too old", "too new", "without its Python host", "does not tell its version"],
)
def test_an_unsuitable_installed_cli_is_skipped(
    machine: Path, monkeypatch: pytest.MonkeyPatch, version: str, language_host: bool
) -> None:
    installed(machine, version, language_host=language_host)
    monkeypatch.setattr(cli, "build_cli", build_nothing)

    assert find_cli().source == "build"


def test_a_build_is_cached(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "build_cli", build_nothing)
    first = find_cli()

    def build_twice(_target: Path) -> None:
        raise AssertionError("it was built already")

    monkeypatch.setattr(cli, "build_cli", build_twice)
    assert find_cli() == first
    assert first.program.is_relative_to(machine / "cache")


def test_a_build_that_does_not_run_is_discarded(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "build_cli", lambda target: write_program(target / "pulumi", "v0.0.1"))

    with pytest.raises(Exception, match="does not report version"):
        find_cli()

    assert [path.name for path in (machine / "cache" / "llm-deploy" / "pulumi").iterdir()] == [".lock"]


@pytest.mark.usefixtures("machine")
def test_without_pulumi_and_go_the_error_says_what_to_install() -> None:
    with pytest.raises(UsageError, match=r"install Pulumi 3\.220\.0 or newer, or Go 1\.21 or newer"):
        find_cli()


@pytest.mark.parametrize("words", ["go version go1.19.8 linux/amd64", "nonsense"])
def test_a_go_that_cannot_build_it_is_named(machine: Path, words: str) -> None:
    write_program(machine / "bin" / "go", words)

    with pytest.raises(UsageError, match="cannot build the Pulumi CLI"):
        build.check_go()


def test_a_fetched_cli_has_its_own_home_and_uses_the_login(machine: Path) -> None:
    home = machine / "home" / ".pulumi"
    home.mkdir(parents=True)
    ours = PulumiCli(machine / "cache" / "pulumi", "3.258.0", "build")
    assert "PULUMI_CREDENTIALS_PATH" not in ours.environment()

    (home / "credentials.json").write_text("{}")

    assert ours.environment()["PULUMI_CREDENTIALS_PATH"] == str(home)
    assert ours.environment()["PULUMI_HOME"] == str(machine / "cache" / "llm-deploy" / "pulumi" / "home")


def test_the_project_python_is_first_on_path(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_PYTHON_CMD", "/usr/bin/python2")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    environment = PulumiCli(machine / "x" / "pulumi", "3.258.0", "build").environment()

    assert environment["PATH"].split(":")[0].endswith("/.venv/bin")
    assert environment["PATH"].split(":")[1] == str(machine / "x")
    assert "PULUMI_PYTHON_CMD" not in environment
    assert "PYTHONDONTWRITEBYTECODE" not in environment, "what was compiled is kept"


def test_the_recipe_changes_with_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build.recipe_hash()
    for name in ("engine/go.mod", "engine/go.sum", "language/go.mod", "language/go.sum"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((build.WRAPPERS / name).read_bytes())
    monkeypatch.setattr(build, "WRAPPERS", tmp_path)
    assert build.recipe_hash() == before

    with (tmp_path / "language/go.sum").open("a") as file:
        file.write("\n")
    assert build.recipe_hash() != before
