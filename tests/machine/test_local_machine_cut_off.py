"""A creation killed at any step: `destroy` cleans up after it, and the next creation makes a complete machine."""

import os
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL

import pytest

from core.paths import CHECKOUT
from infra.clouds.local import machine as machines
from infra.clouds.local.parts import disk, orphans, record
from tests.machine.cut_off_create import STEPS
from tests.machine.machines import STACK, NewMachine
from tests.machine.shell import on


@pytest.fixture
def cut_off(machine_state: Path, request: pytest.FixtureRequest) -> str:
    """The id of a machine whose creation was killed at the step that the test names."""
    command = (sys.executable, "-m", "tests.machine.cut_off_create", str(machine_state), request.param)
    done = subprocess.run(command, cwd=CHECKOUT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == -SIGKILL, done.stderr
    return record.machine_id(str(machine_state), STACK, "one")


@pytest.mark.parametrize("cut_off", STEPS, indirect=True)
def test_destroy_cleans_up(cut_off: str) -> None:
    assert orphans.of_machine(cut_off) != []
    machines.destroy(cut_off)
    assert orphans.of_machine(cut_off) == []


@pytest.mark.parametrize("cut_off", ["root file system half copied", "machine started"], indirect=True)
def test_it_does_not_count_as_existing_and_the_next_creation_completes_it(
    cut_off: str, new_machine: NewMachine
) -> None:
    assert machines.read(cut_off) is None
    one = new_machine()
    assert on(one, "systemctl is-active ssh.service") == "active"
    assert machines.read(cut_off)


def test_an_interrupted_removal_does_not_count_as_a_stopped_machine(
    new_machine: NewMachine, machine_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = new_machine()
    identity = record.machine_id(str(machine_state), STACK, first.name)

    def half(_id: str) -> None:
        (record.STORE / identity / disk.IMAGE).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(record, "remove", half)
        with pytest.raises(KeyboardInterrupt):
            machines.destroy(identity)
    again = new_machine()
    assert on(again, "systemctl is-active ssh.service") == "active"
    assert again.host_keys != first.host_keys
