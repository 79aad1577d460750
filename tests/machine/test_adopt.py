"""`fab adopt` as a person runs it: a real machine, and a container on it that runs nothing but sshd."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import HostError
from infra.contract.outputs import HostRecord
from provisioning.converge.resources import Unit
from provisioning.existing.host_key import fingerprint
from provisioning.hosts.inventory import load
from provisioning.hosts.target import Target
from tests.machine.converge_host import bring, moved, poll, remote
from tests.machine.fab import FAB, Said
from tests.slowness import patient
from tests.unit.provisioning.records import host_values

POD_PORT = 2222

# A container like a cloud pod: its own processes and mounts, sshd as the first process, no systemd.
POD = f"""
exec setsid unshare --mount --pid --fork --kill-child --mount-proc sh -c '
  mount -t tmpfs none /run/systemd && exec /usr/sbin/sshd -D -p {POD_PORT}' >/dev/null 2>&1 &
echo $!
"""


@pytest.fixture
def pod(machine: HostRecord) -> Iterator[HostRecord]:
    process = remote(machine, POD).strip()
    poll(lambda: remote(machine, f"ss -Hltn sport = :{POD_PORT}"))
    yield moved(machine, ssh_port=POD_PORT)
    remote(machine, f"kill {process}")


def adopt(host: HostRecord, path: Path, *arguments: str) -> Said:
    done = subprocess.run(
        [
            *(str(FAB), "-r", "provisioning", "adopt", "--host", f"{host.user}@{host.address}:{host.ssh_port}"),
            *("--identity-file", str(host.identity_file), "--inventory", str(path), *arguments),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def test_a_host_is_adopted_after_its_key_is_confirmed(machine: HostRecord, tmp_path: Path) -> None:
    path = tmp_path / "hosts.yaml"
    key = fingerprint(machine.host_keys[0])
    assert (asked := adopt(machine, path)).status == 2
    assert f'ARGS="--host-key {key}"' in asked.error
    assert (other := adopt(machine, path, "--host-key", f"SHA256:{'A' * 43}")).status == 1
    assert "another machine may be answering" in other.error
    assert not path.exists()

    assert adopt(machine, path, "--host-key", key).status == 0
    (found,) = load(Target(inventory=str(path))).hosts
    assert found.host_keys == machine.host_keys
    assert (found.os_release, found.virtualization) == ("debian-12", "container")
    assert (found.cpu_count, found.memory_gib) == (machine.cpu_count, machine.memory_gib)

    again = adopt(machine, path)  # the inventory now has the key
    assert again.status == 0
    assert "is unchanged" in again.err
    path.write_text(path.read_text().replace("port: 443", "port: 8443"))
    assert adopt(machine, path).status == 2
    assert "port: 8443" in path.read_text()
    path.write_text(path.read_text().replace(machine.host_keys[0], host_values()["host_keys"][0]))
    changed = adopt(machine, path)
    assert "the host key is not the known one" in changed.error
    assert machine.host_keys[0] in changed.error  # exactly the line to copy
    assert adopt(machine, path, "--host-key", key, "--replace").status == 0
    assert load(Target(inventory=str(path))).hosts[0].host_keys == machine.host_keys


def test_a_pod_without_systemd_is_refused_by_adopt_and_by_provision(pod: HostRecord, tmp_path: Path) -> None:
    path = tmp_path / "hosts.yaml"
    done = adopt(pod, path, "--host-key", fingerprint(pod.host_keys[0]))
    assert done.status == 2
    assert "with sshd as process 1, not systemd" in done.error
    assert not path.exists()
    with pytest.raises(HostError, match="systemd is not running on this host"):
        bring(pod, [Unit(name="ssh.service")])
