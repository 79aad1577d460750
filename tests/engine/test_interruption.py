"""With real machines: the next command finishes or undoes what a killed or interrupted command began."""

import os
import signal
import time

import pytest

from infra.clouds.local.parts import record
from infra.clouds.local.parts.orphans import of_stack
from infra.clouds.program.ssh_key import KEY_NAME
from tests.engine.checkout import LOCAL, Checkout, session_of, wait_until
from tests.slowness import patient

CREATING = "+ creating local-test-1"


def left(checkout: Checkout, stack: str) -> list[str]:
    """Return the resources that this host still has of the stack, read without the commands."""
    return of_stack(stack, owner=str(checkout.state.resolve()))


def with_secrets(checkout: Checkout, stack: str) -> list[str]:
    """Return the files of the state that hold the SSH key or the passphrase."""
    key = (checkout.state / "stacks" / stack / KEY_NAME).read_text()
    secrets = [*key.splitlines()[1:-1], (checkout.state / "pulumi-passphrase").read_text()]
    kept = [path for path in (checkout.state / "pulumi").rglob("*") if path.is_file()]
    assert checkout.checkpoint(stack) in kept
    return [str(path) for path in kept if any(secret in path.read_text(errors="replace") for secret in secrets)]


def test_preview_up_and_down_of_a_machine(checkout: Checkout, local: str) -> None:
    before = checkout.run("preview", local)
    assert before.returncode == 0, before.stderr
    assert "+ would create local-test-1 (Container)\n" in before.stderr
    assert left(checkout, local) == []

    first = checkout.run("up", local)
    assert first.returncode == 0, first.stderr
    assert "+ created local-test-1" in first.stderr
    host = checkout.outputs(local)["hosts"][0]

    again = checkout.run("up", local)
    assert again.returncode == 0, again.stderr
    assert "nothing to change" in again.stderr
    assert checkout.outputs(local)["hosts"][0] == host
    assert with_secrets(checkout, local) == []

    preview = checkout.run("preview", local)
    assert "nothing to change" in preview.stderr

    down = checkout.run("down", local)
    assert down.returncode == 0, down.stderr
    assert checkout.result(local, "teardown.json") == {
        "cloud": "local",
        "ok": True,
        "destroyed": ["local-test-1"],
        "left": [],
        "kept": [],
        "asked": True,
        "hosts_stay": False,
    }
    assert left(checkout, local) == []


def test_plain_pulumi_creates_changes_and_destroys_a_machine(checkout: Checkout, local: str) -> None:
    """A newcomer has only activated the environment; `make` then works on the same stack."""
    new = checkout.pulumi("preview", "--stack", local)
    assert new.returncode == 0, new.stdout + new.stderr
    assert not (checkout.state / "stacks" / local).exists()

    first = checkout.pulumi("up", "-ys", local)
    assert first.returncode == 0, first.stdout + first.stderr
    assert f"next: make provision STACK={local}" in first.stderr
    host = checkout.outputs(local)["hosts"][0]
    assert with_secrets(checkout, local) == []

    checkout.stack(local, LOCAL.format(cpus=1))
    preview = checkout.run("preview", local)
    assert "~ would change local-test-1 (Container): cpus\n" in preview.stderr
    assert checkout.outputs(local)["hosts"][0]["cpu_count"] == 2
    changed = checkout.pulumi("up", "-ys", local)
    assert changed.returncode == 0, changed.stdout + changed.stderr
    assert checkout.outputs(local)["hosts"][0] == host | {"cpu_count": 1}

    destroy = checkout.pulumi("destroy", "-ys", local)
    assert destroy.returncode == 0, destroy.stdout + destroy.stderr
    assert left(checkout, local) == []
    down = checkout.run("down", local)
    assert down.returncode == 0, down.stderr
    assert not (checkout.state / "stacks" / local).exists()
    assert checkout.changes() == ""


def test_up_restarts_a_machine_that_died_and_the_next_down_finishes_an_interrupted_down(
    checkout: Checkout, local: str
) -> None:
    checkout.run("up", local)
    host = checkout.outputs(local)["hosts"][0]
    identity = record.machine_id(str(checkout.state.resolve()), local, "local-test-1")
    machine = record.load(identity)
    assert machine is not None
    pid = int(machine.pid_file.read_text().split()[0])
    for member in session_of(pid):
        os.kill(member, signal.SIGKILL)

    refresh = checkout.run("refresh", local)
    assert "  ! local-test-1 is off\n" in refresh.stderr
    assert "not running: local-test-1; `up` starts them" in refresh.stderr

    up = checkout.run("up", local)
    assert up.returncode == 0, up.stderr
    shown = [line.strip() for line in up.stderr.splitlines()]
    said = [line for line in shown if "local-test-1" in line and "@" not in line]
    assert said == ["+ starting local-test-1 (Container)", "+ started local-test-1"]
    assert "1 started" in shown
    assert checkout.result(local, "up.json")["changes"] == {"start": ["local-test-1"]}
    assert checkout.outputs(local)["hosts"][0] == host

    with checkout.started("down", local) as running:
        running.wait_for("- removing local-test-1")
        running.kill_all()
    done = checkout.run("down", local)
    assert done.returncode == 0, done.stderr
    assert checkout.result(local, "teardown.json")["ok"] is True
    assert left(checkout, local) == []


@pytest.mark.parametrize("after", ["up", "down"])
def test_next_command_recovers_from_a_power_cut_during_up(checkout: Checkout, local: str, after: str) -> None:
    """The engine's providers outlived it; its lock and a pending creation blocked the next command."""
    with checkout.started("up", local) as running:
        running.wait_for(CREATING)
        engine = running.engine_pid
        running.kill_all()

    done = checkout.run(after, local)

    assert done.returncode == 0, done.stderr
    assert "the previous command was interrupted or failed; recovering" in done.stderr
    assert "removing the lock of a Pulumi engine that was killed" in done.stderr
    assert session_of(engine) == []
    assert (left(checkout, local) == []) == (after == "down")
    assert checkout.changes() == ""


def test_up_waits_for_an_engine_that_outlived_its_command(checkout: Checkout, local: str) -> None:
    with checkout.started("up", local) as running:
        running.wait_for(CREATING)
        engine = running.engine_pid
        running.process.kill()
        running.process.wait()

    done = checkout.run("up", local)

    assert done.returncode == 0, done.stderr
    assert f"its Pulumi engine (process {engine}) is still working" in done.stderr
    assert "nothing to change" in done.stderr


def test_ctrl_c_stops_after_the_current_step_and_up_resumes(checkout: Checkout, local: str) -> None:
    with checkout.started("up", local) as running:
        running.wait_for(CREATING)
        engine = running.engine_pid
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(patient(60)) == 130, running.log.read_text()
    assert "stopping after the current step" in running.log.read_text()
    assert session_of(engine) == []

    done = checkout.run("up", local)

    assert done.returncode == 0, done.stderr
    assert len(checkout.outputs(local)["hosts"]) == 1


def test_a_second_ctrl_c_stops_at_once_and_down_recovers(checkout: Checkout, local: str) -> None:
    with checkout.started("up", local) as running:
        running.wait_for(CREATING)
        engine = running.engine_pid
        start = time.monotonic()
        for _ in range(2):
            running.process.send_signal(signal.SIGINT)
            time.sleep(0.2)  # two signals at the same moment may arrive as one
        assert running.process.wait(patient(60)) == 130, running.log.read_text()
        assert time.monotonic() - start < 20
    wait_until(lambda: session_of(engine) == [], 10)

    done = checkout.run("down", local)

    assert done.returncode == 0, done.stderr
    assert left(checkout, local) == []
