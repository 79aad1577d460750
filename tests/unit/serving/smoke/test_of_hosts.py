"""The smoke test as a task of fab: what only hosts can tell stands beside what the endpoint answers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import CheckError, UsageError
from core.paths import outputs_file
from provisioning.hosts.target import Target
from provisioning.operate import smoke as module
from provisioning.operate.smoke import smoke
from serving.endpoint import Endpoint, write_endpoint
from tests.doubles.engine import EngineDouble
from tests.gateways import ADDRESS, free_port
from tests.unit.provisioning.records import host_values, stack_values

L4 = {"model": "L4", "count": 1, "vram_gib": 22.35}


@pytest.fixture
def target(tmp_path: Path) -> Target:
    """An inventory of a host that takes no logins."""
    file = tmp_path / "hosts.json"
    host = host_values(address="127.0.0.1", ssh_port=1, gpu=L4)
    file.write_text(json.dumps(stack_values(host, stack="demo")))
    return Target(inventory=str(file))


def checks(tmp_path: Path) -> dict[str, str]:
    """Return the details of the failed checks by name."""
    kept = json.loads((tmp_path / "runs" / "demo" / "latest" / "smoke.json").read_text())
    return {check["name"]: check["detail"] for check in kept["checks"] if not check["ok"]}


def test_a_host_that_cannot_be_checked_fails_only_its_check(target: Target, endpoint: Endpoint, tmp_path: Path) -> None:
    write_endpoint(endpoint.model_copy(update={"gpu_hosts": ("one", "gone")}))
    assert smoke(target, wait_s=0, as_json=False) == 1
    failed = checks(tmp_path)
    assert list(failed) == ["gpu[one]", "gpu[gone]"]
    assert "could not be checked: one (admin@127.0.0.1:1): connection refused" in failed["gpu[one]"]
    assert "no longer has an engine on gone" in failed["gpu[gone]"]


def test_the_hosts_are_asked_after_the_endpoint_has_answered(
    target: Target, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """VRAM shows what computed the last answers, so there must be answers first."""
    write_endpoint(endpoint.model_copy(update={"gpu_hosts": ("one",)}))
    asked: list[str] = []

    def prove(host: object, _: object) -> str:
        asked.append(getattr(host, "name", ""))
        return "14.9 GiB of VRAM"

    monkeypatch.setattr(module, "prove", prove)
    assert smoke(target, wait_s=0, as_json=False) == 0
    assert asked == ["one"]


@pytest.mark.parametrize(("cloud", "asked"), [("existing", ["gpu[one]"]), ("local", [])])
def test_a_host_whose_record_has_no_gpu_is_asked_for_one_that_lies_idle(
    cloud: str, asked: list[str], endpoint: Endpoint, tmp_path: Path
) -> None:
    """With an inventory without `gpu`, a GPU server that computed on its CPU once passed."""
    file = tmp_path / "hosts.json"
    file.write_text(json.dumps(stack_values(host_values(address="127.0.0.1", ssh_port=1, cloud=cloud), stack="demo")))
    write_endpoint(endpoint)
    assert smoke(Target(inventory=str(file)), wait_s=0, as_json=False) == int(bool(asked))
    assert list(checks(tmp_path)) == asked


def test_hosts_that_were_never_provisioned_have_no_endpoint(target: Target) -> None:
    with pytest.raises(UsageError) as caught:
        smoke(target, wait_s=0, as_json=False)
    assert not isinstance(caught.value, CheckError)
    assert caught.value.hint == f"run `make provision INVENTORY={target.inventory}`, which writes it"


NEXT: dict[str, tuple[Callable[[str], Target], set[str], str]] = {
    "a stack": (lambda _: Target(stack="local"), set(), "next: make status STACK=local   or   make down STACK=local"),
    "hosts of an inventory": (lambda file: Target(inventory=file), set(), "next: make status INVENTORY={file}"),
    "checks failed": (
        lambda file: Target(inventory=file),
        {"any_key"},
        "next: make logs INVENTORY={file}   or   make provision INVENTORY={file}",
    ),
}


@pytest.mark.parametrize(("of", "faults", "line"), NEXT.values(), ids=NEXT.keys())
def test_the_next_command_can_be_pasted(
    target: Target,
    endpoint: Endpoint,
    engine: EngineDouble,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    of: Callable[[str], Target],
    faults: set[str],
    line: str,
) -> None:
    for stack in ("demo", "local"):
        write_endpoint(endpoint.model_copy(update={"stack": stack}))
    outputs_file("local").write_text(json.dumps(stack_values(host_values(gpu=L4), stack="local")))
    monkeypatch.setattr(module, "prove", lambda *_: "14.9 GiB of VRAM")
    engine.faults |= faults
    smoke(of(target.inventory), wait_s=0, as_json=False)
    assert capsys.readouterr().err.splitlines()[-1] == line.format(file=target.inventory)


def test_an_unreachable_endpoint_is_reported_with_what_to_look_at(target: Target, endpoint: Endpoint) -> None:
    write_endpoint(endpoint.model_copy(update={"url": f"https://{ADDRESS}:{free_port()}"}))
    with pytest.raises(CheckError, match="cannot be reached") as caught:
        smoke(target, wait_s=0, as_json=False)
    file = target.inventory
    assert caught.value.hint == f"see `make status INVENTORY={file}` and `make logs INVENTORY={file}`"


def test_a_key_that_the_hosts_do_not_have_yet_is_named_as_the_cause(
    target: Target, endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    """Right after `make rotate-key`, 16 checks once failed with 401 without the reason."""
    endpoint.keys_file.write_text('{"default": "sk-new"}')
    write_endpoint(endpoint)
    assert smoke(target, wait_s=0, as_json=False) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("! ")]
    assert said == [
        f"! the gateway does not know the key of default in {endpoint.keys_file}. "
        f"After `rotate-key`, `make provision INVENTORY={target.inventory}` copies the new key to the hosts"
    ]
