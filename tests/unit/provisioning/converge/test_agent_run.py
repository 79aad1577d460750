"""The agent as a process: what it changes, prints, hides and refuses. Needs no root: everything is in one folder."""

import fcntl
import hashlib
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from provisioning.converge.resources import (
    Command,
    Directory,
    Download,
    File,
    GeneratedSecret,
    Link,
    Resource,
    Secret,
    Tree,
)
from tests.unit.provisioning.converge.agent_runner import ME, run_agent, run_folder

SECRET = "hunter2-and-a-half"


def file(path: Path, content: str | Secret | None, **fields: Any) -> File:
    return File(path=str(path), content=content, **{**ME, **fields})


def test_changes_then_finds_nothing_to_do_then_repairs(tmp_path: Path) -> None:
    """The first run creates, the second finds nothing to do, the third repairs only what drifted."""
    root, source = tmp_path / "root", tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a.txt").write_text("a")
    (source / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (source / "sub" / "run.sh").chmod(0o755)
    desired: list[Resource] = [
        Directory(path=str(root), **ME),
        file(root / "conf", "one\n"),
        Link(path=str(root / "link"), target="conf"),
        Tree(path=str(root / "tree"), source=source, **ME),
        GeneratedSecret(path=str(root / "key"), template="KEY={secret}\n", **ME),
        Command(name="touch", argv=("touch", str(root / "touched")), creates=str(root / "touched")),
    ]
    assert set(run_agent(tmp_path, desired).statuses.values()) == {"changed"}
    assert set(run_agent(tmp_path, desired).statuses.values()) == {"ok"}

    key = (root / "key").read_text()
    (root / "conf").write_text("two\n")
    (root / "tree" / "sub" / "run.sh").write_text("#!/bin/xx\n")
    (root / "tree" / "stray").write_text("x")
    third = run_agent(tmp_path, desired)
    changed = {name for name, status in third.statuses.items() if status == "changed"}
    assert changed == {f"file:{root}/conf", f"tree:{root}/tree"}
    assert (root / "conf").read_text() == "one\n"
    assert (root / "tree" / "sub" / "run.sh").read_text() == "#!/bin/sh\n"
    assert stat.S_IMODE((root / "tree" / "sub" / "run.sh").stat().st_mode) == 0o755
    assert not (root / "tree" / "stray").exists()
    assert (root / "key").read_text() == key


def test_plan_changes_nothing_and_shows_the_diff(tmp_path: Path) -> None:
    """A dry run changes no byte and writes no state."""
    conf = tmp_path / "conf"
    conf.write_text("one\n")
    ended = run_agent(tmp_path, [file(conf, "two\n"), Directory(path=str(tmp_path / "new"), **ME)], mode="plan")
    assert ended.status == 0
    assert ended.of(f"file:{conf}")["diff"] == f"--- {conf}\n+++ {conf}\n@@ -1 +1 @@\n-one\n+two\n"
    assert conf.read_text() == "one\n"
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "state").exists()


def test_secrets_are_in_no_event(tmp_path: Path) -> None:
    """Neither content, diff, command output nor the output of a failure shows a secret."""
    conf = tmp_path / "conf"
    conf.write_text("old secret\n")
    shout = ("sh", "-c", 'echo "token is $TOKEN"; exit 3')
    desired = [
        file(conf, Secret(f"password={SECRET}\n{SECRET}-second-line\n")),
        GeneratedSecret(path=str(tmp_path / "key"), template="KEY={secret}\n", **ME),
        Command(name="shout", argv=shout, env={"TOKEN": Secret(SECRET)}),
        Command(name="show", argv=("sh", "-c", f"cat {tmp_path}/conf {tmp_path}/key; exit 1")),
    ]
    ended = run_agent(tmp_path, desired)
    assert ended.of("command:shout")["detail"] == "token is (secret)\n"
    assert ended.of(f"file:{conf}")["changes"] == ["(secret) changed"]
    assert SECRET not in ended.output
    assert "old secret" not in ended.output
    assert (tmp_path / "key").read_text()[4:40] not in ended.output
    assert SECRET not in "".join(path.read_text() for path in (tmp_path / "state").iterdir())


def test_the_content_of_a_private_old_file_is_not_shown(tmp_path: Path) -> None:
    """Content that only its owner may read is not shown, even if the new content is not a secret."""
    conf = tmp_path / "conf"
    conf.write_text(f"password={SECRET}\n")
    conf.chmod(0o600)
    ended = run_agent(tmp_path, [file(conf, "open\n")], mode="plan")
    assert ended.of(f"file:{conf}")["diff"] == ""
    assert SECRET not in ended.output


def test_a_failure_stops_its_dependants_and_nothing_else(tmp_path: Path) -> None:
    """Dependants of dependants are skipped too, the rest is done, and the exit status reports the failure."""
    desired = [
        Command(name="bad", argv=("false",)),
        file(tmp_path / "a", "a", after=("command:bad",)),
        file(tmp_path / "b", "b", after=(f"file:{tmp_path}/a",)),
        file(tmp_path / "c", "c"),
    ]
    ended = run_agent(tmp_path, desired)
    assert ended.status == 1
    assert list(ended.statuses.values()) == ["failed", "skipped", "skipped", "changed"]
    assert ended.of(f"file:{tmp_path}/b")["error"] == "depends on command:bad"
    assert not (tmp_path / "a").exists()


def test_a_failing_check_keeps_the_old_file(tmp_path: Path) -> None:
    """The check gets the new content under its own name; the old content stays and nothing remains beside it."""
    conf = tmp_path / "x.conf"
    conf.write_text("old\n")
    check = ("sh", "-c", 'basename "$1"; grep old "$1"', "check", "{path}")
    ended = run_agent(tmp_path, [file(conf, "new\n", check=check)])
    assert ended.of(f"file:{conf}")["error"] == "the check of the new content failed"
    assert ended.of(f"file:{conf}")["detail"] == "x.conf\n"
    assert conf.read_text() == "old\n"
    assert {path.name for path in tmp_path.iterdir()} == {"x.conf", "bundle", "state"}


def test_files_of_an_interrupted_run_are_removed(tmp_path: Path) -> None:
    """A staged file of a killed run is removed, even if the file itself is correct."""
    conf = tmp_path / "conf"
    conf.write_text("new\n")
    staged = tmp_path / ".conf.llm-deploy-new"
    staged.mkdir()
    (staged / "conf").write_text("ne")
    assert run_agent(tmp_path, [file(conf, "new\n")]).of(f"file:{conf}")["changes"] == [
        "remove the temporary file of an interrupted run"
    ]
    assert not staged.exists()


def test_a_second_run_is_refused_while_one_runs(tmp_path: Path) -> None:
    """The refusal names the holder of the lock, and a dry run is not blocked."""
    (tmp_path / "state").mkdir()
    with (tmp_path / "state" / "lock").open("w") as lock:
        lock.write("started by ann@desk at 2026-01-01 10:00:00 UTC, process 1\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = run_agent(tmp_path, [file(tmp_path / "a", "a")])
        planned = run_agent(tmp_path, [file(tmp_path / "a", "a")], mode="plan")
    assert refused.status == 1
    error = refused.events[-1]["error"]
    assert "another provision is under way: started by ann@desk at 2026-01-01" in error
    assert "; wait and run the same command again: " in error
    assert not (tmp_path / "a").exists()
    assert planned.statuses == {f"file:{tmp_path}/a": "changed"}
    assert run_agent(tmp_path, [file(tmp_path / "a", "a")]).status == 0
    assert (
        (tmp_path / "state" / "lock").read_text().endswith(" on the host\n")
    )  # a process of the host, not of a controller


def test_a_run_waits_for_one_that_is_ending(tmp_path: Path) -> None:
    """After Ctrl-C, a new run was refused for the seconds that the first agent took to end."""
    (tmp_path / "state").mkdir()
    hold = (
        "import fcntl, sys, time; fcntl.flock(open(sys.argv[1], 'w'), fcntl.LOCK_EX); print(flush=True); time.sleep(1)"
    )
    command = [sys.executable, "-c", hold, str(tmp_path / "state" / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as ending:
        assert ending.stdout is not None
        ending.stdout.readline()
        assert run_agent(tmp_path, [file(tmp_path / "a", "a")]).status == 0


def test_a_command_that_changes_nothing_for_its_check_fails(tmp_path: Path) -> None:
    """A command is done when its check says so, not when it exits 0."""
    ended = run_agent(tmp_path, [Command(name="c", argv=("true",), check=("test", "-e", str(tmp_path / "no")))])
    assert ended.of("command:c")["error"] == "ran, but its check still fails"


def test_a_commands_warnings_are_printed_among_its_changes(tmp_path: Path) -> None:
    """The command succeeded, but a person should see the warning."""
    script = "echo noise; echo 'warning: a dead source was passed over'"
    ended = run_agent(tmp_path, [Command(name="c", argv=("sh", "-c", script))])
    assert ended.of("command:c")["changes"][1:] == ["warning: a dead source was passed over"]


def test_a_hanging_command_is_stopped(tmp_path: Path) -> None:
    """The time limit stops the command and all processes that it started."""
    ended = run_agent(tmp_path, [Command(name="c", argv=("sh", "-c", "sleep 600 & wait"), timeout_s=1)])
    assert ended.of("command:c")["error"] == "`sh -c sleep 600 & wait` did not end within 1 s"


@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program"])
def test_a_missing_program_is_named(tmp_path: Path, program: str) -> None:
    """A missing program fails the resource with a message."""
    ended = run_agent(tmp_path, [Command(name="c", argv=(program,))])
    assert program in ended.of("command:c")["error"] + ended.of("command:c")["detail"]
    assert ended.of("command:c")["status"] == "failed"


def test_a_blob_with_another_hash_is_refused(tmp_path: Path) -> None:
    """Content that differs from the list fails the tree and gets no file name."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "weights").write_bytes(b"x" * 100)
    wanted = Tree(path=str(tmp_path / "tree"), source=source, **ME)
    run_agent(tmp_path, [wanted], mode="plan")
    for blob in (tmp_path / "bundle" / "blobs").iterdir():
        blob.write_bytes(b"y" * 100)
    ended = run_folder(tmp_path)
    assert "which is not the one in the list" in ended.of(wanted.id)["error"]
    assert list((tmp_path / "tree").iterdir()) == []


def test_a_conflicting_path_stays_and_is_named(tmp_path: Path) -> None:
    """It may be somebody's only copy; a plan also shows the refusal."""
    there = tmp_path / "there"
    there.write_text("theirs")
    wanted = Directory(path=str(there), **ME)
    words = "a file is in the way; move it away first"
    assert run_agent(tmp_path, [wanted], "plan").of(wanted.id)["changes"] == [words]
    assert run_agent(tmp_path, [wanted]).of(wanted.id)["error"] == f"{there}: {words}"
    assert there.read_text() == "theirs"


def test_an_immutable_tree_is_repaired_and_never_replaced(tmp_path: Path) -> None:
    """A version of an adapter never changes; a folder that was removed by hand may be created again."""
    source, there = tmp_path / "source", tmp_path / "contract@1"
    source.mkdir()
    (source / "weights").write_text("one")
    wanted = Tree(path=str(there), source=source, immutable=True, **ME)
    assert run_agent(tmp_path, [wanted]).status == 0
    (there / "weights").write_text("broken")
    assert run_agent(tmp_path, [wanted]).of(wanted.id)["status"] == "changed"
    (source / "weights").write_text("two")
    refused = run_agent(tmp_path, [wanted])
    words = "holds other files, and an immutable tree does not change; raise the version"
    assert refused.of(wanted.id)["error"] == f"{there}: {words}"
    assert (there / "weights").read_text() == "one"
    shutil.rmtree(there)
    assert run_agent(tmp_path, [wanted]).status == 0
    assert (there / "weights").read_text() == "two"


def test_hidden_files_of_older_versions_are_removed_without_a_refusal(tmp_path: Path) -> None:
    """A hub's cache or a .DS_Store beside an adapter's files used to be part of the version."""
    source, there = tmp_path / "source", tmp_path / "contract@1"
    source.mkdir()
    (source / "weights").write_text("one")
    (source / "_cache").write_text("theirs")
    wanted = Tree(path=str(there), source=source, immutable=True, **ME)
    assert run_agent(tmp_path, [wanted]).status == 0
    (source / "_cache").unlink()
    (there / "_cache").rename(there / ".cache")
    ended = run_agent(tmp_path, [wanted])
    assert (ended.status, ended.of(wanted.id)["status"]) == (0, "changed")
    assert [path.name for path in there.iterdir()] == ["weights"]
    assert run_agent(tmp_path, [wanted]).of(wanted.id)["status"] == "ok"


def test_a_change_that_needs_a_reboot_blocks_only_its_dependants(tmp_path: Path) -> None:
    """The run requests a reboot and reports no failure; the reason is the command's last line."""
    ended = run_agent(
        tmp_path,
        [
            Command(name="driver", argv=("sh", "-c", "echo one; echo in use until then; exit 75"), reboot_status=75),
            file(tmp_path / "engine", "needs it\n", after=("command:driver",)),
            file(tmp_path / "other", "does not\n"),
        ],
    )
    assert ended.of("command:driver")["status"] == "changed"
    assert ended.of("command:driver")["reboot"] == "in use until then"
    assert ended.of(f"file:{tmp_path}/engine")["error"] == "depends on a reboot"
    assert ended.of(f"file:{tmp_path}/other")["status"] == "changed"
    assert ended.status == 1


def test_a_project_program_reports_its_failure_in_one_line(tmp_path: Path) -> None:
    script = "echo noise; echo 'error: no GPU is there; choose another machine' >&2; exit 1"
    ended = run_agent(tmp_path, [Command(name="driver", argv=("sh", "-c", script), reboot_status=75)])
    assert ended.of("command:driver")["status"] == "failed"
    assert ended.of("command:driver")["error"] == "no GPU is there; choose another machine"


def test_a_download_is_taken_from_the_folder_that_contains_it(tmp_path: Path) -> None:
    """The file comes from a bundle: no request goes to the URL. Its hash is still verified."""
    sha256 = hashlib.sha256(b"engine").hexdigest()
    (tmp_path / "bundle/blobs").mkdir(parents=True)
    blob = tmp_path / "bundle/blobs" / sha256
    download = Download(path=str(tmp_path / "engine"), url="http://127.0.0.1:1/engine", sha256=sha256, **ME)
    blob.write_bytes(b"ENGINE")
    assert "has SHA-256" in run_agent(tmp_path, [download]).of(download.id)["error"]
    blob.write_bytes(b"engine")
    assert run_agent(tmp_path, [download]).status == 0
    assert (tmp_path / "engine").read_bytes() == b"engine"
