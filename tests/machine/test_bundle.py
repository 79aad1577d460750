"""A host without a default route gets a working engine, and a driver for its GPU, from bundles alone."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from core.errors import DeployError
from infra.contract.outputs import HostRecord
from provisioning.apply.desired_state import desired_state
from provisioning.apply.reboots import reboot_and_wait
from provisioning.converge.resources import Resource, Venv
from provisioning.offline.bundle import Made, write_bundle
from provisioning.offline.lists import local
from provisioning.offline.releases import RELEASES
from provisioning.roles import ROLES
from provisioning.roles.host.nvidia import METRICS_PORT
from provisioning.roles.host.nvidia_driver import Repository, Setup
from serving.endpoint import Endpoint
from serving.timed_client import Client
from tests.conftest import FAILED
from tests.doubles.ollama_registry import running_registry
from tests.machine.converge_host import poll
from tests.machine.engine_double import engine_double
from tests.machine.machines import making_machines, one_thread
from tests.machine.nvidia.host import L4, NEWER, PACKAGES, PINNED, GpuHost
from tests.machine.nvidia.repository import FACTS, KERNEL, build, driver, kernel, metrics
from tests.machine.offline_host import OfflineHost
from tests.machine.ollama_host import publish_release, tiny_gguf
from tests.machine.served import SERVING
from tests.unit.provisioning.records import stack

RELEASE = RELEASES["debian-12"]
MEMORY_MIB = 2048

LOCK = "packaging==26.3 --hash=sha256:d7193f7c8e4e93f444fde0262bf90af30e16fa0ad0ad44cb553c87339b23cd1c\n"
VENV = Venv(path="/var/lib/llm/venvs/small", lock=LOCK, uv="/var/lib/llm/venvs/uv/bin/uv", after=("command:uv",))

OF_THE_ENGINE = (
    "command:engine-version",
    "command:data-dir",
    "packages:vllm",
    "packages:uv",
    "directory:",
    "file:/var/lib/llm/venvs/uv.lock",
    "command:uv",
    "tree:",
)
"""The vLLM role's resources before vLLM itself, which takes minutes; an engine double replaces it."""


class Alone:
    """A machine without a default route, shared by the tests of this module until one fails."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._undo = ExitStack()
        self._host: OfflineHost | None = None

    @property
    def host(self) -> OfflineHost:
        """The machine, created if missing; a new one has the old one's name and address."""
        if self._host is None:
            make = self._undo.enter_context(making_machines(self._state))
            self._host = OfflineHost(make("alone", memory_mib=MEMORY_MIB))
            self._host.isolate()
        return self._host

    def remove(self) -> None:
        """Remove the machine."""
        self._host = None
        self._undo.close()


@pytest.fixture(scope="module")
def shared(machine_state: Path) -> Iterator[Alone]:
    """The machine of this module; each bundle has everything it needs, in any order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLM_DEPLOY_STATE", str(machine_state / "bundles"))
        patch.setenv("NO_PROXY", "127.0.0.1")
        shared = Alone(machine_state)
        yield shared
        shared.remove()


@pytest.fixture
def alone(shared: Alone, request: pytest.FixtureRequest) -> Iterator[OfflineHost]:
    """The machine; the next test gets a new one if this one fails.

    A killed dpkg left a package that no later installation could repair, and two more tests failed.
    """
    yield shared.host
    if request.node.stash.get(FAILED, False):
        shared.remove()


@pytest.fixture(scope="module")
def made(shared: Alone, tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Endpoint]:
    record = shared.host.record
    outputs = stack(serving=SERVING).model_copy(update={"hosts": (record,)})
    around = desired_state(outputs, (record,), ("base", "gateway"))
    engine = desired_state(outputs, (record,), ("engine",)).lists[record.name]
    resources: list[Resource] = [*around.lists[record.name]]
    there = {each.id for each in resources}
    resources += [each for each in engine if each.id.startswith(OF_THE_ENGINE) and each.id not in there]
    resources += [VENV, *(each for each in engine_double() if each not in resources)]
    archive = tmp_path_factory.mktemp("bundle") / "alone.tar"
    bundle = write_bundle({record.name: local(resources)}, outputs, RELEASE, archive, with_secrets=False)
    assert around.endpoint is not None
    return bundle, around.endpoint


def completes(endpoint: Endpoint, model: str) -> bool:
    """Return whether the endpoint, when it is up, completes a prompt."""
    with Client(endpoint.url, key=endpoint.api_key(), ca=endpoint.ca) as client:
        poll(client.models)
        return bool(client.complete(model, "The rent", max_tokens=4).text)


def test_an_installation_interrupted_twice_is_completed_by_the_next_run(
    alone: OfflineHost, made: tuple[Made, Endpoint], tmp_path: Path
) -> None:
    """First while dpkg works, with apt and dpkg, as in a power cut; then while environments are built."""
    bundle, endpoint = made
    alone.bring(bundle, tmp_path)
    in_dpkg = "[ -n \"$(ls -A /var/lib/dpkg/updates)\" ] && pkill -KILL -x 'apt-get|dpkg'"
    assert "+ command:uv" not in alone.install_cut_off(bundle, in_dpkg)
    second = alone.install_cut_off(bundle, "grep -q '+ command:uv' $log")
    assert f"+ venv:{VENV.path}" not in second

    last = alone.install(bundle)
    assert last.endswith("status 0\n"), last
    assert f"+ venv:{VENV.path}: build" in last
    assert alone.run("dpkg --audit") == ""
    again = alone.install(bundle)
    assert again.endswith("status 0\n"), again
    assert "changed" not in again
    assert alone.run(f"{VENV.path}/bin/python -c 'import packaging; print(packaging.__version__)'") == "26.3\n"
    assert completes(endpoint, "tiny")


def test_no_secret_is_in_the_archive(made: tuple[Made, Endpoint]) -> None:
    bundle, endpoint = made
    (secrets,) = bundle.secrets.values()
    assert secrets.stat().st_mode & 0o077 == 0
    for secret in (b"PRIVATE KEY", endpoint.api_key().get_secret_value().encode()):
        with bundle.archive.open("rb") as stream:
            assert secret not in stream.read()


def test_a_changed_bundle_installs_nothing(alone: OfflineHost, made: tuple[Made, Endpoint], tmp_path: Path) -> None:
    bundle, _ = made
    alone.send(bundle.archive, "mkdir -p changed && tar -C changed -xf -", tmp_path)
    script = f"""cd /home/{alone.record.user}/changed/alone; echo x >> debs/Packages
        before=$(dpkg-query -W | sha256sum)
        ./install.sh --manifest {bundle.manifest_sha256} 2>&1; echo "status $?"
        [ "$before" = "$(dpkg-query -W | sha256sum)" ] && echo untouched"""
    said = alone.run(script)
    assert "debs/Packages is missing or differs from the manifest" in said
    assert said.endswith("status 2\nuntouched\n")


def test_ollama_and_a_gguf_come_from_a_bundle_and_answer(alone: OfflineHost, tmp_path: Path) -> None:
    (tmp_path / "ollama").mkdir()
    gguf = tiny_gguf(tmp_path / "ollama")
    source = {"kind": "gguf", "path": str(gguf), "sha256": sha256(gguf.read_bytes()).hexdigest()}
    with running_registry("127.0.0.1") as server:
        release = publish_release(server)
        serving = {
            "engine": "ollama",
            "model": {"name": "mine", "source": source, "context_tokens": 1024},
            "ollama": {"release": release.config},
        }
        record = one_thread(alone.record)
        outputs = stack(serving=serving).model_copy(update={"hosts": (record,)})
        desired = desired_state(outputs, (record,), ROLES)
        lists = {name: local(each) for name, each in desired.lists.items()}
        bundle = write_bundle(lists, outputs, RELEASE, tmp_path / "ollama.tar", with_secrets=False)
    alone.bring(bundle, tmp_path)
    first = alone.install(bundle)
    assert first.endswith("status 0\n"), first
    assert alone.run("readlink /var/lib/llm/ollama/current").strip() == release.folder
    assert desired.endpoint is not None
    assert completes(desired.endpoint, "mine")


def gpu_host(record: HostRecord, setup: Setup) -> GpuHost:
    """Return the machine as one with a GPU."""
    values = {**json.loads(record.model_dump_json()), "gpu": L4, "virtualization": "vm"}
    return GpuHost(HostRecord.model_validate(values), setup)


@pytest.fixture(scope="module")
def gpu_bundle(shared: Alone, tmp_path_factory: pytest.TempPathFactory) -> tuple[Setup, Made]:
    """The driver's signed repository, which the machine cannot reach, and a bundle of it."""
    folder = tmp_path_factory.mktemp("gpu")
    key = build(folder / "repository", [*driver(PINNED), *driver(NEWER), *metrics(), *kernel(KERNEL)])
    # Copied, because apt would use the files of a `file:` source in place.
    uri = f"copy:{folder}/repository/"
    known = Repository(uri=uri, packages=PACKAGES, switch_packages=("nvidia-fabricmanager-580",))
    setup = Setup(version=PINNED, key=key, repositories={RELEASE.name: known}, root=FACTS)
    host = gpu_host(shared.host.record, setup)

    def write(setup: Setup) -> Made:
        lists = {host.record.name: local(host.desired())}
        path = folder / "gpu.tar"
        outputs = stack().model_copy(update={"hosts": (host.record,)})
        return write_bundle(lists, outputs, RELEASE, path, kernels=(KERNEL,), with_secrets=False, setup=setup)

    with pytest.raises(DeployError, match="is not signed"):
        write(replace(setup, key=""))  # NVIDIA's own key, which did not sign the stand-ins
    return setup, write(setup)


@pytest.fixture
def gpu(alone: OfflineHost, gpu_bundle: tuple[Setup, Made], tmp_path: Path) -> tuple[GpuHost, Made]:
    """The machine with a GPU, and its bundle on it."""
    setup, bundle = gpu_bundle
    alone.bring(bundle, tmp_path)
    return gpu_host(alone.record, setup), bundle


def test_a_gpu_host_gets_its_driver_from_a_bundle_and_waits_for_a_reboot(
    alone: OfflineHost, gpu: tuple[GpuHost, Made]
) -> None:
    host, bundle = gpu
    host.becomes()
    host.run(f"mkdir -p {FACTS}/sys/module/nouveau")
    waiting = alone.install(bundle)
    assert waiting.endswith("status 1\n"), waiting
    assert f"alone: driver {PINNED} is installed, and nouveau in use until a reboot; reboot this host" in waiting
    assert "✗ unit:nvidia-persistenced.service: depends on a reboot" in waiting

    reboot_and_wait(host.record, lambda _: None)
    alone.check_isolation()
    last = alone.install(bundle)
    assert last.endswith("status 0\n"), last
    assert host.driver() == PINNED
    assert {"libcuda1", "nvidia-driver-cuda", "nvidia-kernel-open-dkms"} <= set(host.run("apt-mark showhold").split())
    assert "blacklist nouveau" in host.run("cat /etc/modprobe.d/*")
    assert host.run(f"ss -Hltn sport = :{METRICS_PORT}").split()[3] == f"127.0.0.1:{METRICS_PORT}"
    assert "nvidia" not in host.run("ls /etc/apt/sources.list.d")
    again = alone.install(bundle)
    assert again.endswith("status 0\n"), again
    assert "changed" not in again


def test_a_bundle_with_the_headers_of_another_kernel_says_which_it_needs(
    alone: OfflineHost, gpu: tuple[GpuHost, Made]
) -> None:
    host, bundle = gpu
    host.becomes(kernel="6.6.0-other")
    said = alone.install(bundle)
    assert "kernel 6.6.0-other has no headers in apt" in said
    assert "make a bundle with it as --kernel" in said
    assert said.endswith("status 1\n")
