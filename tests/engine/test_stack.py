"""A stack under the real engine, from preview to teardown, without machines."""

import json
import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.errors import UsageError
from provisioning.hosts.inventory import load
from provisioning.hosts.target import Target
from tests.engine.checkout import EXISTING, INVENTORY, Checkout, Done, commit, wait_until
from tests.slowness import patient
from tools.pulumi.cli import PulumiCli


@dataclass(frozen=True)
class FirstUp:
    """The first `up` of the stack: what it printed, what it changed in the checkout, and its state and results."""

    done: Done
    changes: str
    home: Path


@pytest.fixture(scope="module")
def first_up(copied: Path, tmp_path_factory: pytest.TempPathFactory) -> FirstUp:
    """Run the first `up` once for all tests here."""
    home = tmp_path_factory.mktemp("first-up")
    checkout = Checkout(copied, home)
    inventory = copied.parent / "hosts.yaml"
    inventory.write_text(INVENTORY)
    done = checkout.run("up", checkout.stack("existing", EXISTING.format(inventory=inventory)))
    changes = checkout.changes()
    commit(copied)
    return FirstUp(done, changes, home)


@pytest.fixture
def made(first_up: FirstUp, existing: str, tmp_path: Path) -> str:
    """The stack after its first `up`, with a copy of its state."""
    assert first_up.done.returncode == 0, first_up.done.stderr
    shutil.copytree(first_up.home, tmp_path, symlinks=True, dirs_exist_ok=True)
    return existing


def test_preview_of_a_new_stack_writes_no_state(checkout: Checkout, existing: str) -> None:
    done = checkout.run("preview", existing)

    assert done.returncode == 0, done.stderr
    assert "nothing to change" in done.stderr
    assert not checkout.checkpoint(existing).exists()
    assert not (checkout.state / "stacks" / existing).exists(), "a preview must not leave a folder for the stack"
    assert checkout.changes() == ""


def test_up_writes_the_hosts_that_provisioning_reads(
    checkout: Checkout, first_up: FirstUp, made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(checkout.state))
    outputs = load(Target(stack=made))
    assert [host.name for host in outputs.hosts] == ["box"]
    assert outputs.stack == made
    assert outputs.serving.model.name == "tiny-llama"
    assert checkout.result(made, "up.json")["ok"] is True
    assert f"next: make provision STACK={made}" in first_up.done.stderr


def test_every_command_leaves_the_checkout_clean_and_down_removes_the_state(
    checkout: Checkout, first_up: FirstUp, made: str
) -> None:
    assert first_up.changes == ""
    file = checkout.folder / "stacks" / f"Pulumi.{made}.yaml"
    before = file.read_bytes()
    for command in ("up", "refresh", "outputs", "preview", "down"):
        done = checkout.run(command, made)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert checkout.changes() == "", command
    assert file.read_bytes() == before

    assert checkout.result(made, "teardown.json") == {
        "cloud": "existing",
        "ok": True,
        "destroyed": [],
        "left": [],
        "kept": [],
        "asked": True,
        "hosts_stay": True,
    }
    assert not checkout.checkpoint(made).exists()
    assert not (checkout.state / "stacks" / made / "outputs.json").exists()


def test_down_reports_a_stack_that_was_never_created(checkout: Checkout, existing: str) -> None:
    done = checkout.run("down", existing)

    assert done.returncode == 0, done.stderr
    assert "was never created" in done.stderr
    assert checkout.result(existing, "teardown.json")["ok"] is True


def test_down_continues_with_the_last_file_if_the_stack_file_is_invalid(checkout: Checkout, made: str) -> None:
    checkout.stack(made, "config: {llm-deploy:deployment: {cloud: existing, colour: red}}\n")

    done = checkout.run("down", made)

    assert done.returncode == 0, done.stderr
    assert "continuing with the file of the last run" in done.stderr
    assert not checkout.checkpoint(made).exists()


def test_outputs_command_prints_json_on_stdout(checkout: Checkout, made: str) -> None:
    (checkout.state / "stacks" / made / "outputs.json").unlink()

    done = checkout.run("outputs", made)

    assert json.loads(done.stdout) == checkout.outputs(made)
    assert json.loads(done.stdout)["hosts"][0]["address"] == "192.0.2.7"


def test_only_the_owner_can_read_the_backend_passphrase(checkout: Checkout, made: str) -> None:
    passphrase = checkout.state / "pulumi-passphrase"
    assert passphrase.stat().st_mode & 0o777 == 0o600
    assert len(passphrase.read_text()) >= 40
    assert checkout.state.stat().st_mode & 0o777 == 0o700
    assert passphrase.read_text() not in checkout.checkpoint(made).read_text()


def test_uses_the_backend_that_the_user_chose(copied: Path, tmp_path: Path, checkout: Checkout, existing: str) -> None:
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    theirs = Checkout(
        copied, tmp_path, PULUMI_BACKEND_URL=f"file://{chosen}", PULUMI_CONFIG_PASSPHRASE="their own words"
    )

    for command in ("up", "up", "down"):
        done = theirs.run(command, existing)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert theirs.changes() == "", command

    assert (chosen / ".pulumi" / "stacks" / "llm-deploy" / f"{existing}.json").exists()
    assert not (checkout.state / "pulumi").exists()
    assert not (checkout.state / "pulumi-passphrase").exists()


def test_two_stacks_can_be_created_at_once(checkout: Checkout, existing: str, inventory: Path) -> None:
    other = checkout.stack("other", EXISTING.format(inventory=inventory))

    with checkout.started("up", existing) as first:
        done = checkout.run("up", other)
        assert first.process.wait(patient(60)) == 0, first.log.read_text()

    assert done.returncode == 0, done.stderr
    assert checkout.outputs(existing)["stack"] == existing
    assert checkout.outputs(other)["stack"] == other


def test_refuses_a_second_command_on_the_same_stack(checkout: Checkout, existing: str) -> None:
    with checkout.started("up", existing) as first:
        wait_until((checkout.state / "stacks" / existing / "engine.pid").exists, 30)
        second = checkout.run("up", existing)
        assert first.process.wait(patient(60)) == 0, first.log.read_text()

    assert second.returncode == 1
    assert "another command is working on it" in second.stderr


@pytest.fixture
def theirs(checkout: Checkout, cli: PulumiCli, tmp_path: Path) -> dict[str, str]:
    """The environment of a user with their own Pulumi CLI, backend and passphrase."""
    return {
        "PATH": f"{cli.program.parent}:{checkout.folder}/.venv/bin:{os.environ['PATH']}",
        "PULUMI_HOME": str(tmp_path / "pulumi-home"),
        "PULUMI_BACKEND_URL": f"file://{tmp_path}",
        "PULUMI_CONFIG_PASSPHRASE": "their own words",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",  # else the CLI fetches plugins for the SDKs in .venv
    }


def test_every_plain_pulumi_command_leaves_the_checkout_clean(checkout: Checkout, existing: str) -> None:
    """The plain CLI writes a salt into the stack file and deletes the file together with the stack."""
    for words in (
        ["stack", "init", existing],
        ["preview", "-s", existing],
        ["up", f"-ys={existing}"],
        ["-C", "docs", "refresh", "--yes", "--stack", existing],
        ["stack", "output", "-s", existing],
        ["destroy", "-y", f"--stack={existing}", "--remove"],
    ):
        done = checkout.pulumi(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        assert checkout.changes() == "", words
    assert not checkout.checkpoint(existing).exists()
    down = checkout.run("down", existing)
    assert down.returncode == 0, down.stderr


def test_provision_reads_a_state_that_plain_pulumi_changed(
    checkout: Checkout, made: str, inventory: Path, cli: PulumiCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plain CLI writes no outputs file, so `load` reads the outputs from the state, which is newer."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(checkout.state))
    inventory.write_text(INVENTORY.replace("192.0.2.7", "192.0.2.8"))
    hand = shlex.join(checkout.command("env"))
    plain = f'{cli.program} "$@" --non-interactive --stack {made}'

    done = checkout.shell(["bash", "-ec", f'eval "$({hand})"; {plain}', "pulumi", "up", "--yes", "--skip-preview"])

    assert done.returncode == 0, done.stdout + done.stderr
    assert [host.address for host in load(Target(stack=made)).hosts] == ["192.0.2.8"]
    done = checkout.shell(["bash", "-ec", f'eval "$({hand})"; {plain}', "pulumi", "destroy", "--yes"])
    assert done.returncode == 0, done.stdout + done.stderr
    with pytest.raises(UsageError):
        load(Target(stack=made))
    assert not (checkout.state / "stacks" / made / "outputs.json").exists(), (
        "the outputs of destroyed machines must not stay"
    )


def test_pulumi_preview_by_hand_works_on_the_same_stack(checkout: Checkout, made: str) -> None:
    hand = shlex.join(checkout.command("env"))

    done = checkout.shell(["bash", "-ec", f'eval "$({hand})"; pulumi preview --stack {made} --non-interactive'])

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 unchanged" in done.stdout


def test_a_separately_installed_pulumi_can_create_the_stack(
    checkout: Checkout, existing: str, theirs: dict[str, str]
) -> None:
    for arguments in ("stack init", "preview --stack", "up --yes --stack", "stack output --stack"):
        done = checkout.shell(["pulumi", "--non-interactive", *arguments.split(), existing], **theirs)
        assert done.returncode == 0, done.stdout + done.stderr

    assert "192.0.2.7" in done.stdout


def test_plain_pulumi_reports_a_wrong_config_in_one_line(
    checkout: Checkout, existing: str, theirs: dict[str, str]
) -> None:
    file = checkout.folder / "stacks" / f"Pulumi.{existing}.yaml"
    checkout.stack(existing, file.read_text() + "      gpu: 3\n")
    checkout.shell(["pulumi", "--non-interactive", "stack", "init", existing], **theirs)

    done = checkout.shell(["pulumi", "--non-interactive", "preview", "--stack", existing], **theirs)

    assert done.returncode != 0
    assert f"stacks/Pulumi.{existing}.yaml: serving.gpu" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_wrong_config_creates_nothing(checkout: Checkout, existing: str) -> None:
    checkout.stack(existing, "config: {llm-deploy:deployment: {cloud: moon}}\n")

    done = checkout.run("up", existing)

    assert done.returncode == 2
    assert f"stacks/Pulumi.{existing}.yaml: cloud: moon" in done.stderr
    assert "Traceback" not in done.stderr
    assert not checkout.state.exists() or not checkout.checkpoint(existing).exists()


def test_down_ignores_a_half_written_note_of_a_killed_engine(checkout: Checkout, made: str) -> None:
    """The engine writes such a note in two steps; a kill between them leaves it empty."""
    note = checkout.checkpoint(made).with_name(f"{made}.json.attrs")
    assert note.stat().st_size
    note.write_bytes(b"")
    (checkout.state / "stacks" / made / "engine.pid").write_text("1 1 another-boot\n")

    done = checkout.run("down", made)

    assert done.returncode == 0, done.stderr
