"""A host without a route out, brought to base, gateway, a Python environment and a model from a bundle alone."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.outputs import HostRecord
from provisioning.converge.resources import Resource, Venv
from provisioning.known_hosts import known_hosts_text
from provisioning.offline.bundle import Made, write_bundle
from provisioning.offline.releases import RELEASES
from provisioning.shell import ssh_arguments
from provisioning.wishes import wishes_for
from serving.client import Client
from serving.endpoint import Endpoint
from tests.machine.converge_host import poll, remote
from tests.machine.engine_double import engine_double
from tests.machine.machines import making_machines
from tests.machine.served import SERVING
from tests.unit.provisioning.records import stack

LOCK = "packaging==26.3 --hash=sha256:d7193f7c8e4e93f444fde0262bf90af30e16fa0ad0ad44cb553c87339b23cd1c\n"
VENV = Venv(path="/var/lib/llm/venvs/small", lock=LOCK, uv="/var/lib/llm/venvs/uv/bin/uv", after=("command:uv",))

OF_THE_ENGINE = (
    "command:engine-version",
    "packages:vllm",
    "directory:",
    "file:/var/lib/llm/venvs/uv.lock",
    "command:uv",
    "tree:",
)
"""What vLLM's role wishes for before vLLM itself, which takes minutes: an engine double stands in for it."""


@pytest.fixture(scope="module")
def alone(machine_state: Path) -> Iterator[HostRecord]:
    """A machine whose network namespace has no default route: only its neighbour, this host, can reach it."""
    with making_machines(machine_state) as make:
        host = make("alone")
        remote(host, "ip route del default")
        assert "default" not in remote(host, "ip route; ip -6 route")
        yield host


@pytest.fixture(scope="module")
def made(alone: HostRecord, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Made, Endpoint]]:
    folder = tmp_path_factory.mktemp("bundle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_DEPLOY_STATE", str(folder / "state"))
        outputs = stack(serving=SERVING).model_copy(update={"hosts": (alone,)})
        around = wishes_for(outputs, (alone,), ("base", "gateway"))
        engine = wishes_for(outputs, (alone,), ("engine",)).lists[alone.name]
        resources: list[Resource] = [*around.lists[alone.name]]
        resources += [each for each in engine if each.id.startswith(OF_THE_ENGINE)]
        resources += [VENV, *(each for each in engine_double() if each not in resources)]
        archive = folder / "alone.tar"
        bundle = write_bundle({alone.name: resources}, outputs, RELEASES["debian-12"], archive, with_secrets=False)
        assert around.endpoint is not None
        yield bundle, around.endpoint


def send(host: HostRecord, file: Path, command: str, folder: Path) -> None:
    """Hand a file to a command on the host, on its stdin."""
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(known_hosts_text((host,)))
    with file.open("rb") as stream:
        subprocess.run(ssh_arguments(host, known_hosts, command), stdin=stream, check=True, timeout=120)


def test_a_host_without_network_is_installed_to_a_completion(
    alone: HostRecord, made: tuple[Made, Endpoint], tmp_path: Path
) -> None:
    bundle, endpoint = made
    assert bundle.secrets is not None
    send(alone, bundle.archive, "tar -xf -", tmp_path)
    send(alone, bundle.secrets, "umask 77; cat > secrets.json", tmp_path)
    home = f"/home/{alone.user}"
    install = f"{home}/alone/install.sh --manifest {bundle.manifest_sha256} --secrets {home}/secrets.json"
    install += ' 2>&1; echo "status $?"'

    first = remote(alone, install)
    assert first.endswith("status 0\n"), first
    assert "+ venv:/var/lib/llm/venvs/small: build" in first
    again = remote(alone, install)
    assert again.endswith("status 0\n"), again
    assert "changed" not in again
    version = remote(alone, f"{VENV.path}/bin/python -c 'import packaging; print(packaging.__version__)'")
    assert version == "26.3\n"
    with Client(endpoint.url, key=endpoint.api_key(), ca=endpoint.ca) as client:
        poll(client.models)
        assert client.complete("tiny", "The rent", max_tokens=4).text


def test_no_secret_is_in_the_archive(made: tuple[Made, Endpoint]) -> None:
    bundle, endpoint = made
    assert bundle.secrets is not None
    assert bundle.secrets.stat().st_mode & 0o077 == 0
    for secret in (b"PRIVATE KEY", endpoint.api_key().get_secret_value().encode()):
        with bundle.archive.open("rb") as stream:
            assert secret not in stream.read()


def test_a_changed_bundle_installs_nothing(alone: HostRecord, made: tuple[Made, Endpoint], tmp_path: Path) -> None:
    bundle, _ = made
    send(alone, bundle.archive, "mkdir -p changed && tar -C changed -xf -", tmp_path)
    script = f"""cd /home/{alone.user}/changed/alone; echo x >> debs/Packages; before=$(dpkg-query -W | sha256sum)
        ./install.sh --manifest {bundle.manifest_sha256} 2>&1; echo "status $?"
        [ "$before" = "$(dpkg-query -W | sha256sum)" ] && echo untouched"""
    said = remote(alone, script)
    assert "debs/Packages is missing or not the file that the manifest names" in said
    assert said.endswith("status 2\nuntouched\n")
