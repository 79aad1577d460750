"""The tasks as people type them: what fab itself says, exit statuses, how soon the first words come."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.paths import CHECKOUT
from tests.unit import first_words
from tests.unit.provisioning.records import host_values, stack_values

FAB = Path(sys.executable).with_name("fab")
TASKS = [
    "adapters:apply", "adapters:entry", "adapters:list", "adapters:manifest", "adapters:plan", "adapters:promote",
    "adapters:prune", "adapters:rollback", "adopt", "bundle", "logs", "plan", "provision", "reboot", "restart",
    "rotate-key", "smoke", "spend", "ssh", "status", "top", "upgrade-engine",
]  # fmt: skip


def fab(*arguments: str, folder: Path = CHECKOUT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FAB, *arguments], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "folder"), [(["-r", "provisioning"], CHECKOUT), ([], CHECKOUT / "provisioning")], ids=["-r", "cd"]
)
def test_all_tasks_are_listed(arguments: list[str], folder: Path) -> None:
    done = fab(*arguments, "--list", folder=folder)
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line[2] != " "]
    assert sorted(listed) == TASKS


WRONG_USAGE = {
    "no hosts named": (["plan"], "error: fab: which hosts? name either a stack or an inventory; write --stack"),
    "stack and inventory": (
        ["plan", "--stack", "local", "--inventory", "x"],
        "error: fab: which hosts? name either a stack or",
    ),
    "unknown task": (["provison"], "error: fab: there is no task provison; "),
    "unknown option": (["plan", "--stak", "local"], "error: fab: there is no option --stak; did you mean --stack?"),
    "option like no other": (
        ["plan", "--bogus"],
        "error: fab: there is no option --bogus; `python -m provisioning --help plan` lists the options",
    ),
    "option without value": (["plan", "--stack"], "error: fab: "),
    "version not said": (
        ["adapters:promote", "--stack", "local"],
        "error: fab adapters:promote: version is missing; write it like `make adapters DO=promote ARGS=contract@4`",
    ),
    "version apart from its name": (
        ["adapters:promote", "--stack", "local", "contract", "@2"],
        "error: fab adapters:promote: unexpected argument @2; write it like `make adapters DO=promote ARGS=contract@4`",
    ),
    "adapter not said": (
        ["adapters:rollback"],
        "error: fab adapters:rollback: adapter is missing; write it like `make adapters DO=rollback ARGS=contract`",
    ),
    "command for a host without --command": (
        ["ssh", "--stack", "local", "uptime"],
        "error: fab ssh: unexpected argument uptime; write it like `make ssh ARGS=\"--command 'uptime -p'\"`",
    ),
    "no number": (["plan", "--stack", "local", "--parallel", "many"], "error: --parallel: not a whole number: 'many'"),
    "number of none": (["plan", "--stack", "local", "--parallel", "0"], "error: --parallel: not a whole number: '0'"),
    "unknown role": (["plan", "--stack", "local", "--roles", "base,gatway"], "error: --roles: there is no role"),
}


@pytest.mark.parametrize(("arguments", "line"), WRONG_USAGE.values(), ids=WRONG_USAGE.keys())
def test_wrong_usage_is_one_line_and_status_2(tmp_path: Path, arguments: list[str], line: str) -> None:
    done = fab("-r", "provisioning", *arguments, LLM_DEPLOY_STATE=str(tmp_path))
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert done.returncode == 2


def test_rotate_key_changes_one_key_and_prints_none(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps(stack_values(host_values())))
    keys = tmp_path / "stacks" / "test" / "keys.json"
    keys.parent.mkdir(parents=True)
    keys.write_text('{"default": "sk-old", "batch": "sk-other"}')
    arguments = ("-r", "provisioning", "rotate-key", "--inventory", str(inventory), "--client")
    done = fab(*arguments, "default", LLM_DEPLOY_STATE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    after = json.loads(keys.read_text())
    assert after["default"] != "sk-old"
    assert after["batch"] == "sk-other"
    assert after["default"] not in done.stdout + done.stderr
    assert str(keys) in done.stderr
    assert f"  hosts answer it with 401 until `make provision INVENTORY={inventory}` installs it" in done.stderr
    wrong = fab(*arguments, "defalt", LLM_DEPLOY_STATE=str(tmp_path))
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.endswith("error: --client: stack test has no client 'defalt'; there are: batch, default\n")


WRONG_TARGET = {
    "unknown stack": (
        ["provision", "--stack", "nowhere"],
        "error: stacks/Pulumi.nowhere.yaml: there is no stack nowhere",
    ),
    "no machines yet": (["provision", "--stack", "local"], "error: stack local: has no machines yet; run `make up"),
    "no such file": (["status", "--inventory", "none.yaml"], "error: none.yaml: there is no such file"),
}


@pytest.mark.parametrize(("arguments", "line"), WRONG_TARGET.values(), ids=WRONG_TARGET.keys())
def test_missing_target_is_one_line_and_status_2(tmp_path: Path, arguments: list[str], line: str) -> None:
    done = fab("-r", "provisioning", *arguments, LLM_DEPLOY_STATE=str(tmp_path))
    announced, error = done.stderr.splitlines()
    assert announced.startswith(f"→ {arguments[0]} {arguments[2]}")
    assert error.startswith(line)
    assert done.returncode == 2


def test_the_ssh_config_of_the_user_is_not_read(tmp_path: Path) -> None:
    """Once Fabric read it before each task, and one that cannot be read or parsed ended the task with a traceback."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_bytes(b"# M\xfcller\nUnparsable\n")
    done = fab("-r", "provisioning", "status", "--stack", "nowhere", HOME=str(tmp_path), LLM_DEPLOY_STATE=str(tmp_path))
    assert done.returncode == 2, done.stderr


def test_wrong_inventory_is_one_line_per_error_and_status_2(tmp_path: Path) -> None:
    file = tmp_path / "hosts.json"
    file.write_text(json.dumps(stack_values(host_values(user=7), gatewy={})))
    done = fab("-r", "provisioning", "plan", "--inventory", str(file), LLM_DEPLOY_STATE=str(tmp_path))
    assert done.returncode == 2
    assert [line.split(": ")[:3] for line in done.stderr.splitlines()[1:]] == [
        ["error", str(file), "hosts[0].user"],
        ["error", str(file), "gatewy"],
    ]


def test_the_first_words_come_before_any_host_is_reached(tmp_path: Path) -> None:
    file = tmp_path / "hosts.json"
    file.write_text(json.dumps(stack_values(host_values(address="127.0.0.1", ssh_port=1))))
    environment = {**os.environ, "LLM_DEPLOY_STATE": str(tmp_path), "LLM_DEPLOY_RUNS": str(tmp_path / "runs")}
    command = [str(FAB), "-r", "provisioning", "provision", "--roles", "base", "--inventory", str(file)]
    said = first_words.run(command, environment)
    assert said.first == f"→ provision {file} (base)"
    assert said.packages & first_words.HEAVY == {"cryptography", "yaml"}  # those of Fabric itself
    assert said.rest.startswith("error: one (admin@127.0.0.1:1): connection refused")
    assert said.status == 1
