"""A machine on this host: a booted Debian with its own address, key, access to the registries, and one login."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import HostError
from core.paths import CHECKOUT
from infra.clouds.local import machine as machines
from infra.clouds.local.parts import record
from infra.clouds.program.ssh_key import make_key_pair
from infra.contract.outputs import HostRecord
from tests.machine.converge_host import poll
from tests.machine.machines import STACK, NewMachine
from tests.machine.shell import on, wait_until


def test_boots_to_running_with_nothing_failed(machine: HostRecord) -> None:
    wait_until(lambda: on(machine, "systemctl is-system-running || true") not in ("starting", "initializing"))
    assert on(machine, "systemctl --failed --no-legend --plain") == ""
    assert on(machine, "systemctl is-system-running") == "running"


def test_has_a_name_and_identity_of_its_own(machine: HostRecord) -> None:
    assert on(machine, "hostname") == machine.name
    assert on(machine, "cat /etc/machine-id") != Path("/etc/machine-id").read_text().strip()
    assert on(machine, "sudo -n id --user") == "0"
    assert on(machine, f"grep -c . /home/{machine.user}/.ssh/authorized_keys") == "1"


def test_a_machine_with_another_host_key_is_never_reached(machine: HostRecord, tmp_path: Path) -> None:
    other = make_key_pair(tmp_path / "other", comment="other").public
    with pytest.raises(HostError, match="host key is not the known one"):
        on(machine.model_copy(update={"host_keys": (other,)}), "true")


def test_a_stranger_is_refused(machine: HostRecord, tmp_path: Path) -> None:
    stranger = make_key_pair(tmp_path / "stranger", comment="stranger").private_file
    with pytest.raises(HostError, match=r"login as admin with .* refused"):
        on(machine.model_copy(update={"identity_file": stranger}), "true")


def test_sshd_takes_keys_only(machine: HostRecord) -> None:
    settings = on(machine, "sudo sshd -T").splitlines()
    assert {"passwordauthentication no", "kbdinteractiveauthentication no", "permitrootlogin no"} <= set(settings)


def test_the_host_key_stays_in_the_machine(machine: HostRecord, machine_state: Path) -> None:
    identity = record.machine_id(str(machine_state), STACK, machine.name)
    private = record.STORE / identity / "root/etc/ssh/ssh_host_ed25519_key"
    assert private.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in (record.STORE / identity / "record.json").read_text()


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("sudo apt-get --quiet update -o APT::Update::Error-Mode=any", id="apt"),
        pytest.param("curl --silent --fail --output /dev/null https://pypi.org/simple/idna/", id="curl"),
        pytest.param(
            "python3 -c \"import urllib.request as u; u.urlopen('https://pypi.org/simple/idna/')\"", id="python"
        ),
        pytest.param(
            "sudo -n python3 -c \"import urllib.request as u; u.urlopen('https://pypi.org/simple/idna/')\"", id="sudo"
        ),
    ],
)
def test_reaches_the_registries_over_trusted_tls(machine: HostRecord, command: str) -> None:
    on(machine, command)


def test_pip_and_uv_install_through_the_shared_cache(machine: HostRecord) -> None:
    on(machine, "sudo apt-get -qq update && sudo apt-get -qq install --yes python3-venv >/dev/null 2>&1")
    on(machine, "sudo python3 -m venv /opt/tools && sudo /opt/tools/bin/pip --quiet install uv")
    on(machine, "sudo /opt/tools/bin/uv venv --quiet /opt/try && cd / && VIRTUAL_ENV=/opt/try true")
    on(machine, "sudo /opt/tools/bin/uv pip install --quiet --python /opt/try/bin/python idna")
    assert on(machine, "/opt/try/bin/python -c 'import idna; print(idna.encode(\"ok\").decode())'") == "ok"
    assert on(machine, "sudo /opt/tools/bin/uv cache dir") == "/var/cache/llm-deploy/uv"


def test_its_engine_port_on_loopback_is_not_reached_from_here(machine: HostRecord) -> None:
    started = "sudo systemd-run --quiet --unit=on-loopback python3 -m http.server --bind 127.0.0.1 8000"
    on(machine, f"{started} && until curl --silent --output /dev/null http://127.0.0.1:8000/; do sleep 0.1; done")
    refused = subprocess.run(
        ("curl", "--silent", "--max-time", "2", f"http://{machine.address}:8000/"), capture_output=True, check=False
    )
    on(machine, "sudo systemctl stop on-loopback")
    assert refused.returncode != 0


def test_a_second_create_finds_it_unchanged(new_machine: NewMachine) -> None:
    first = new_machine()
    boot = on(first, "cat /proc/sys/kernel/random/boot_id")
    on(first, "echo mine > kept")
    assert new_machine() == first
    assert on(first, "cat /proc/sys/kernel/random/boot_id kept") == f"{boot}\nmine"


def test_the_command_line_lists_it_and_forgives_a_second_destroy(machine: HostRecord, machine_state: Path) -> None:
    command = (sys.executable, "-m", "infra.clouds.local.machine")
    listed = json.loads(subprocess.run((*command, "list"), cwd=CHECKOUT, capture_output=True, check=True).stdout)
    mine = next(each for each in listed if (each["owner"], each["name"]) == (str(machine_state), machine.name))
    assert mine["state"] == "running"
    assert mine["host_keys"] == list(machine.host_keys)
    subprocess.run((*command, "destroy", "never-made"), cwd=CHECKOUT, check=True)


def test_memory_and_cpus_are_enforced_and_changed_in_place(new_machine: NewMachine, machine_state: Path) -> None:
    small = new_machine(memory_mib=512, cpus=0.5)
    take_768_mib = "python3 -c 'b = bytearray(768 << 20); print(sum(b[::4096]))'"
    assert on(small, f"{take_768_mib}; echo $?") == KILLED
    assert cpu_share(small) < 0.6

    identity = record.machine_id(str(machine_state), STACK, small.name)
    seen = record.load(identity)
    assert seen
    machines.update(identity, owner=seen.owner, memory_mib=1536, cpus=1.0, public_keys=seen.public_keys)
    assert on(small, take_768_mib) == "0"
    poll(lambda: cpu_share(small) > 0.6)  # when the parallel tests leave it so much


def test_its_disk_is_its_own_and_has_the_configured_size(machine: HostRecord) -> None:
    """A machine saw the whole disk of the host, and could fill it."""
    size, kind = on(machine, "df --output=size,fstype -BG / | tail -1").split()
    assert 0.9 * machines.DISK_GIB < int(size.removesuffix("G")) <= machines.DISK_GIB
    assert kind == "ext4"


KILLED = "137"


def cpu_share(host: HostRecord) -> float:
    """Return how many processors a program with two busy threads of control gets."""
    program = (
        "import os, time; child = os.fork(); end = time.monotonic() + 1.5\n"
        "while time.monotonic() < end: pass\n"
        "if not child: os._exit(0)\n"
        "os.wait(); print(sum(os.times()[:4]) / 1.5)"
    )
    return float(on(host, f"python3 -c '{program}'"))
