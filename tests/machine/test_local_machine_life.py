"""The life of machines on this host: reboot, death, several at once, and a removal that leaves nothing."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGKILL

import pytest

from core.errors import HostError
from infra.clouds.local import machine as machines
from infra.clouds.local.parts import network, orphans, record
from infra.clouds.local.parts.runner import runner
from tests.machine.machines import RUN_NOTE, STACK, NewMachine, begin_run, making_machines
from tests.machine.shell import on, wait_until


@pytest.fixture
def identity(machine_state: Path) -> str:
    """The id of the machine called `one`."""
    return record.machine_id(str(machine_state), STACK, "one")


def test_survives_a_reboot_with_address_key_and_disk(new_machine: NewMachine, identity: str) -> None:
    one = new_machine()
    boot = on(one, "echo mine > kept; cat /proc/sys/kernel/random/boot_id")
    on(one, "sudo systemctl reboot --no-block")
    wait_until(lambda: on(one, "cat /proc/sys/kernel/random/boot_id") != boot)
    assert on(one, "cat kept") == "mine"
    seen = machines.read(identity)
    assert seen
    assert machines.host_record(seen) == machines.host_record(record.load(identity) or seen)


def test_a_rebooting_machine_does_not_count_as_dead(new_machine: NewMachine, identity: str) -> None:
    on(new_machine(), "sudo systemctl reboot --no-block")
    assert machines.read(identity)


@pytest.mark.parametrize("end", ["power off", "crash", "crash of the supervisor, too"])
def test_a_dead_machine_is_noticed_and_started_again_with_its_disk(
    new_machine: NewMachine, identity: str, end: str
) -> None:
    one = new_machine()
    on(one, "echo mine > kept; sync")
    processes = runner().processes(identity)
    if end == "power off":
        on(one, "sudo systemctl poweroff --no-block")
    else:
        for process in processes if end.endswith("too") else processes[1:]:
            process.send(SIGKILL)
    wait_until(lambda: machines.read(identity) is None)

    again = new_machine()
    assert again == one
    assert on(again, "cat kept") == "mine"


def test_starts_again_if_only_its_folder_survived_the_host(new_machine: NewMachine, identity: str) -> None:
    """As after a reboot of this host: no process, no network, no control group."""
    one = new_machine()
    runner().stop(identity)
    network.Network(identity, 0).down()
    assert machines.read(identity) is None
    assert new_machine() == one
    assert on(one, "hostname") == "one"


def test_machines_of_two_checkouts_made_at_once_do_not_collide(
    new_machine: NewMachine, tmp_path: Path, machine_state: Path
) -> None:
    with making_machines(tmp_path) as other_checkout, ThreadPoolExecutor() as pool:
        made = [pool.submit(new_machine, "one"), pool.submit(new_machine, "two"), pool.submit(other_checkout, "one")]
        hosts = [each.result() for each in made]
        assert len({host.address for host in hosts}) == len({host.host_keys for host in hosts}) == len(hosts)
        assert [on(host, "hostname") for host in hosts] == ["one", "two", "one"]
        # Each has its own control groups: one systemd must never stop the units of another.
        on(hosts[0], "sudo systemctl reboot --no-block")
        assert on(hosts[1], "systemctl is-active ssh.service") == "active"
        assert on(hosts[2], "systemctl is-active ssh.service") == "active"
    assert orphans.of_stack(STACK, owner=str(tmp_path)) == []
    assert orphans.of_stack(STACK, owner=str(machine_state)) != []


def test_destroy_leaves_nothing_and_may_be_repeated(new_machine: NewMachine, identity: str) -> None:
    before = set(host_resources(identity))
    one = new_machine()
    on(one, "sudo systemd-run --quiet --unit=stubborn sh -c 'trap \"\" TERM; while :; do sleep 1; done'")
    assert set(host_resources(identity)) > before
    machines.destroy(identity)
    machines.destroy(identity)
    assert set(host_resources(identity)) == before
    assert orphans.of_machine(identity) == []


def test_machines_without_a_record_are_found_and_removed(tmp_path: Path) -> None:
    """A machine with the name of the stack's first is found by its id if the record is lost.

    In a separate state folder: the whole stack is removed, which also removed the machines that other tests share.
    """
    owner = str(tmp_path)
    with making_machines(tmp_path) as make:
        first = make(record.machine_name(STACK, 1))
        identity = record.machine_id(owner, STACK, first.name)
        (record.STORE / identity / "record.json").unlink()
        left = orphans.of_stack(STACK, owner=owner)
        assert any(line.startswith("interface") for line in left)
        assert any(line.startswith("process") for line in left)
        machines.destroy_stack(STACK, owner=owner)
        assert orphans.of_stack(STACK, owner=owner) == []


def test_a_failed_start_shows_the_console(new_machine: NewMachine, identity: str) -> None:
    new_machine()
    runner().stop(identity)
    (record.STORE / identity / "root/usr/lib/systemd/systemd").unlink()
    with pytest.raises(HostError, match="does not answer SSH") as failure:
        new_machine()
    assert failure.value.detail
    assert "console.log" in failure.value.hint


def host_resources(identity: str) -> Iterator[str]:
    """List what a machine could leave on this host, without the code under test."""
    commands = (
        "ip -oneline link",
        "ip netns list",
        "nft list tables",
        "find /sys/fs/cgroup -type d",
        "ps -eo pid,args",
    )
    for command in (*commands, "ls /var/lib/llm-deploy/machines", "ls /run/systemd/nspawn/propagate", "ls /run/netns"):
        output = subprocess.run(command.split(), capture_output=True, text=True, check=False).stdout
        yield from (f"{command}: {line}" for line in output.splitlines() if identity in line)


def test_machines_of_a_killed_test_run_are_removed_by_the_next_run(
    new_machine: NewMachine, machine_state: Path, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    with making_machines(killed) as make:
        make("one")
        identity = record.machine_id(str(killed), STACK, "one")
        (killed / RUN_NOTE).write_text("1 1 another-boot")
        mine = new_machine()
        begin_run(machine_state)
        assert orphans.of_machine(identity) == []
        assert on(mine, "hostname") == "one"
