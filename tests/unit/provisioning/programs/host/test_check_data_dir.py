"""Whether the engine's unit could use its data folder: tested with real folders and the kernel's answers."""

# ruff: noqa: S108  # paths to judge; no file is made there

import grp
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from infra.contract.outputs import HostRecord
from provisioning.converge.resources import Command, Directory, Download, Resource, Tree, Venv
from provisioning.programs import program
from provisioning.programs.host.check_data_dir import by_mode, main, problem
from provisioning.roles.engine.ollama import ollama
from provisioning.roles.engine.vllm import vllm
from serving.sources.ollama import Archive
from serving.sources.resolve import HubFetch, ResolvedSources
from serving.spec.models import ServingSpec
from tests.unit.provisioning.records import host

ABSENT = "llm-not-made-yet"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as another user")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own admits only the user who runs it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def folder(path: Path, mode: int = 0o755) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    return path


def look(data: Path, user: str = ABSENT) -> int:
    return main(user, f"{data}/venvs", str(data), f"{data}/models", f"{data}/venvs")


def test_missing_folders_pass(place: Path) -> None:
    assert look(place / "srv" / "llm") == 0


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o644])
def test_a_folder_that_the_service_may_not_enter_is_named(
    mode: int, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first failure was the engine's start, after the model had been fetched."""
    closed = folder(place / "closed", mode)
    assert look(closed / "a" / "llm") == 1
    why = f"{closed}: the engine's user may not enter it, and {closed}/a/llm lies below; "
    what = f"{why}run `chmod o+x {closed}`, or write another data_dir"
    assert capsys.readouterr().out == f"planned: fail: {what}\nerror: {what}\n"


def test_the_outermost_closed_folder_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder(place / "outer" / "inner", 0o700)
    folder(place / "outer", 0o700)
    assert look(place / "outer" / "inner" / "llm") == 1
    assert f"chmod o+x {place}/outer`" in capsys.readouterr().out


@pytest.mark.parametrize("mode", [0o711, 0o755, 0o701])
def test_a_folder_that_others_may_pass_through_is_accepted(mode: int, place: Path) -> None:
    assert look(folder(place / "passed", mode) / "llm") == 0


def test_the_modes_of_our_own_folders_do_not_count(place: Path) -> None:
    """A provision makes them 0755, so a data folder with mode 0700 is accepted."""
    data = folder(place / "llm", 0o700)
    folder(data / "models", 0o700)
    data.chmod(0o700)
    assert look(data) == 0


def test_the_path_behind_a_link_is_checked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    closed = folder(place / "disk", 0o700)
    folder(closed / "llm")
    (place / "llm").symlink_to(closed / "llm")
    assert look(place / "llm") == 1
    assert f"chmod o+x {closed}`" in capsys.readouterr().out


def test_our_own_folder_is_checked_if_it_is_a_link(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    closed = folder(place / "disk", 0o700)
    folder(closed / "models")
    (folder(place / "llm") / "models").symlink_to(closed / "models")
    assert look(place / "llm") == 1
    assert f"and {place}/llm/models lies below" in capsys.readouterr().out


def test_the_path_to_a_link_is_checked(place: Path) -> None:
    closed, disk = folder(place / "closed", 0o700), folder(place / "disk")
    (closed / "llm").symlink_to(disk)
    assert look(closed / "llm") == 1


def test_a_user_that_will_be_created_gets_the_group_of_its_name(place: Path) -> None:
    """useradd joins an existing group of that name."""
    shared = folder(place / "shared", 0o710)
    group = grp.getgrgid(shared.stat().st_gid).gr_name
    assert by_mode(group)(str(shared))
    assert not by_mode(ABSENT)(str(shared))
    shared.chmod(0o701)
    assert not by_mode(group)(str(shared)), "of a member the group's bits count, and no others"


@AS_ROOT
def test_the_kernel_decides_for_an_existing_user(place: Path) -> None:
    closed = folder(place / "closed", 0o700)
    assert look(closed / "llm", "nobody") == 1
    os.chown(closed, pwd.getpwnam("nobody").pw_uid, -1)
    assert look(closed / "llm", "nobody") == 0


@AS_ROOT
def test_additional_groups_of_the_user_count(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = folder(place / "shared", 0o710)
    os.chown(shared, -1, 4242)
    assert look(shared / "llm", "nobody") == 1
    monkeypatch.setattr(os, "initgroups", lambda _, gid: os.setgroups([gid, 4242]))
    assert look(shared / "llm", "nobody") == 0


def test_an_unanswered_check_does_not_refuse(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = folder(place / "closed", 0o700)

    def fails(*_: Any, **__: Any) -> None:
        raise OSError

    monkeypatch.setattr(subprocess, "run", fails)
    monkeypatch.setattr(os, "statvfs", fails)
    assert look(closed / "llm", pwd.getpwuid(os.geteuid()).pw_name) == 0


class Seen:
    """The answer of statvfs."""

    def __init__(self, flags: int) -> None:
        self.f_flag = flags


def test_a_file_system_without_programs_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = folder(place / "llm")  # venvs will be made in it
    monkeypatch.setattr(os, "statvfs", lambda path: Seen(os.ST_NOEXEC if path == str(data) else 0))
    assert look(data) == 1
    assert f"{place}/llm/venvs is on a file system mounted noexec; mount it with exec" in capsys.readouterr().out
    monkeypatch.setattr(os, "statvfs", lambda _: Seen(os.ST_NOSUID))
    assert look(data) == 0


LINKS = [
    ("/srv/llm", "/home/me/llm", "/home"),
    ("/srv/llm", "/root/llm", "/root"),
    ("/srv/llm", "/tmp/llm", "/tmp"),
    ("/srv/llm", "/var/tmp/llm", "/var/tmp"),
    ("/srv/llm", "/mnt/llm", ""),
    ("/srv/llm", "/homes/llm", ""),
    ("/home/me/llm", "/home/me/llm", ""),
    ("/home/me/llm", "/root/llm", ""),
    ("/home/me/llm", "/mnt/llm", ""),
    ("/home/me/llm", "/tmp/llm", "/tmp"),
]


@pytest.mark.parametrize(("named", "real", "hidden"), LINKS)
def test_a_link_to_a_folder_hidden_from_the_unit_is_refused(
    named: str, real: str, hidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "realpath", lambda path: path.replace(named, real))
    said = problem(lambda _: True, named, [named])
    expected = f"{named} leads to {real}, and the engine's unit does not see {hidden}; move the folder out of it"
    assert said == (expected if hidden else "")


def run(command: Command) -> tuple[int, str]:
    argv = (sys.executable, *command.check[1:])
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


TINY = {"kind": "tiny", "name": "llama"}
HUB = HubFetch("acme/base-7b", "0" * 40)


def vllm_resources(one: HostRecord) -> list[Resource]:
    return vllm(one, ServingSpec.model_validate({"model": {"name": "base", "source": TINY}}), ResolvedSources(HUB, ()))


def ollama_resources(one: HostRecord) -> list[Resource]:
    spec = ServingSpec.model_validate({"engine": "ollama", "model": {"name": "base", "source": TINY}})
    archive = Archive("0.24.0", "a" * 64, url="https://example.com/ollama.tar.zst")
    return ollama(one, spec, ResolvedSources(HUB, (), archive))


def waits(resource: Resource, resources: Sequence[Resource], wanted: str) -> bool:
    """Return whether the failure of `wanted` stops `resource`."""
    needed = [each for each in resources if each.id in resource.after]
    return wanted in resource.after or any(waits(each, resources, wanted) for each in needed)


@pytest.mark.parametrize("role", [vllm_resources, ollama_resources])
def test_a_refused_folder_gets_no_files(role: Any) -> None:
    resources = role(host())
    (check,) = (each for each in resources if each.id == "command:data-dir")
    kinds = (Directory, Download, Tree, Venv, Command)
    brought = [each for each in resources if isinstance(each, kinds) and "/var/lib/llm/" in f"{each.id}/"]
    assert len(brought) > 5
    assert [each.id for each in brought if not waits(each, resources, check.id)] == []


@pytest.mark.parametrize("role", [vllm_resources, ollama_resources])
def test_the_check_needs_no_file_on_the_host(role: Any, place: Path) -> None:
    """So the plan of a host without any provision refuses too."""
    one = host().model_copy(update={"data_dir": str(place / "closed" / "llm")})
    (check,) = (each for each in role(one) if each.id == "command:data-dir")
    assert run(check) == (0, "")
    folder(place / "closed", 0o700)
    status, said = run(check)
    assert (status, said.count("planned: fail: ")) == (1, 1)


def test_it_runs_as_a_program() -> None:
    argv = [sys.executable, "-I", "-c", program("host/check_data_dir"), ABSENT, "/var/lib/llm", "/var/lib/llm"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
