"""A stack under the real engine, from preview to teardown, without machines."""

import json
import os
import shlex
from pathlib import Path

import pytest

from core.errors import UsageError
from provisioning.hosts.inventory import load
from provisioning.hosts.target import Target
from tests.doubles.aws.running import RunningAws
from tests.engine.aws_stacks import REGION
from tests.engine.checkout import EXISTING, INVENTORY, Checkout, wait_until
from tests.slowness import patient
from tools.pulumi.cli import PulumiCli


def test_preview_of_a_new_stack_writes_no_state(checkout: Checkout, existing: str) -> None:
    done = checkout.run("preview", existing)

    assert done.returncode == 0, done.stderr
    assert "nothing to change" in done.stderr
    assert not checkout.checkpoint(existing).exists()
    assert not (checkout.state / "stacks" / existing).exists(), "a preview must not leave a folder for the stack"
    assert checkout.changes() == ""


def test_up_writes_the_hosts_that_provisioning_reads(
    checkout: Checkout, existing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = checkout.run("up", existing)

    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(checkout.state))
    outputs = load(Target(stack=existing))
    assert [host.name for host in outputs.hosts] == ["box"]
    assert outputs.stack == existing
    assert outputs.serving.model.name == "tiny-llama"
    assert checkout.result(existing, "up.json")["ok"] is True
    assert f"next: make provision STACK={existing}" in done.stderr


def test_every_command_leaves_the_checkout_clean(checkout: Checkout, existing: str) -> None:
    file = checkout.folder / "stacks" / f"Pulumi.{existing}.yaml"
    before = file.read_bytes()
    for command in ("preview", "up", "up", "refresh", "outputs", "preview", "down"):
        done = checkout.run(command, existing)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert checkout.changes() == "", command
    assert file.read_bytes() == before


def test_down_removes_the_state_and_outputs_of_the_stack(checkout: Checkout, existing: str) -> None:
    checkout.run("up", existing)

    done = checkout.run("down", existing)

    assert done.returncode == 0, done.stderr
    assert checkout.result(existing, "teardown.json") == {
        "cloud": "existing",
        "ok": True,
        "destroyed": [],
        "left": [],
        "kept": [],
        "asked": True,
        "hosts_stay": True,
    }
    assert not checkout.checkpoint(existing).exists()
    assert not (checkout.state / "stacks" / existing / "outputs.json").exists()


def test_down_reports_a_stack_that_was_never_created(checkout: Checkout, existing: str) -> None:
    done = checkout.run("down", existing)

    assert done.returncode == 0, done.stderr
    assert "was never created" in done.stderr
    assert checkout.result(existing, "teardown.json")["ok"] is True


def test_down_continues_with_the_last_file_if_the_stack_file_is_invalid(checkout: Checkout, existing: str) -> None:
    checkout.run("up", existing)
    checkout.stack(existing, "config: {llm-deploy:deployment: {cloud: existing, colour: red}}\n")

    done = checkout.run("down", existing)

    assert done.returncode == 0, done.stderr
    assert "continuing with the file of the last run" in done.stderr
    assert not checkout.checkpoint(existing).exists()


def test_outputs_command_prints_json_on_stdout(checkout: Checkout, existing: str) -> None:
    checkout.run("up", existing)
    (checkout.state / "stacks" / existing / "outputs.json").unlink()

    done = checkout.run("outputs", existing)

    assert json.loads(done.stdout) == checkout.outputs(existing)
    assert json.loads(done.stdout)["hosts"][0]["address"] == "192.0.2.7"


def test_only_the_owner_can_read_the_backend_passphrase(checkout: Checkout, existing: str) -> None:
    checkout.run("up", existing)

    passphrase = checkout.state / "pulumi-passphrase"
    assert passphrase.stat().st_mode & 0o777 == 0o600
    assert len(passphrase.read_text()) >= 40
    assert checkout.state.stat().st_mode & 0o777 == 0o700
    assert passphrase.read_text() not in checkout.checkpoint(existing).read_text()


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


def test_two_stacks_can_be_created_at_once(checkout: Checkout, existing: str, tmp_path: Path) -> None:
    other = checkout.stack("other", EXISTING.format(inventory=tmp_path / "hosts.yaml"))

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
    checkout: Checkout, existing: str, tmp_path: Path, cli: PulumiCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plain CLI writes no outputs file, so `load` reads the outputs from the state, which is newer."""
    checkout.run("up", existing)
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(checkout.state))
    (tmp_path / "hosts.yaml").write_text(INVENTORY.replace("192.0.2.7", "192.0.2.8"))
    hand = shlex.join(checkout.command("env"))
    plain = f'{cli.program} "$@" --non-interactive --stack {existing}'

    done = checkout.shell(["bash", "-ec", f'eval "$({hand})"; {plain}', "pulumi", "up", "--yes", "--skip-preview"])

    assert done.returncode == 0, done.stdout + done.stderr
    assert [host.address for host in load(Target(stack=existing)).hosts] == ["192.0.2.8"]
    done = checkout.shell(["bash", "-ec", f'eval "$({hand})"; {plain}', "pulumi", "destroy", "--yes"])
    assert done.returncode == 0, done.stdout + done.stderr
    with pytest.raises(UsageError):
        load(Target(stack=existing))
    assert not (checkout.state / "stacks" / existing / "outputs.json").exists(), (
        "the outputs of destroyed machines must not stay"
    )


def test_plain_pulumi_and_the_outputs_command_use_a_state_in_a_bucket(
    cloud_checkout: Checkout, aws: RunningAws, existing: str
) -> None:
    aws.client("s3").create_bucket(Bucket="states", CreateBucketConfiguration={"LocationConstraint": REGION})
    where = f"s3://states?region={REGION}&endpoint={aws.url}&s3ForcePathStyle=true"
    chosen = {"PULUMI_BACKEND_URL": where, "PULUMI_CONFIG_PASSPHRASE": "their own words"}

    for words in (["preview", "-s", existing], ["up", "-ys", existing]):
        done = cloud_checkout.pulumi(*words, **chosen)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        assert cloud_checkout.changes() == "", words

    (cloud_checkout.state / "stacks" / existing / "outputs.json").unlink()
    read = cloud_checkout.shell(cloud_checkout.command("outputs", "--stack", existing), **chosen)
    assert json.loads(read.stdout)["hosts"][0]["address"] == "192.0.2.7", read.stderr
    assert not (cloud_checkout.state / "pulumi").exists()


def test_pulumi_preview_by_hand_works_on_the_same_stack(checkout: Checkout, existing: str) -> None:
    checkout.run("up", existing)
    hand = shlex.join(checkout.command("env"))

    done = checkout.shell(["bash", "-ec", f'eval "$({hand})"; pulumi preview --stack {existing} --non-interactive'])

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


def test_down_ignores_a_half_written_note_of_a_killed_engine(checkout: Checkout, existing: str) -> None:
    """The engine writes such a note in two steps; a kill between them leaves it empty."""
    checkout.run("up", existing)
    note = checkout.checkpoint(existing).with_name(f"{existing}.json.attrs")
    assert note.stat().st_size
    note.write_bytes(b"")
    (checkout.state / "stacks" / existing / "engine.pid").write_text("1 1 another-boot\n")

    done = checkout.run("down", existing)

    assert done.returncode == 0, done.stderr
