"""The answers of the provider to the Pulumi engine: no change, change in place, or replacement."""

import base64
import pickle
from typing import Any

import pytest
from pulumi.dynamic.dynamic import serialize_provider

from core.errors import HostError
from infra.clouds.local import machine
from infra.clouds.local.provider import LocalMachineProvider

INPUTS = {
    "name": "local-1",
    "stack": "local",
    "owner": "/checkout/.state",
    "memory_mib": 1024.0,
    "cpus": 2.0,
    "disk_gib": 40.0,
    "public_keys": ["ssh-ed25519 AAAA"],
}


@pytest.mark.parametrize(
    ("change", "changes", "replaces"),
    [
        pytest.param({}, False, [], id="nothing"),
        pytest.param({"host": None}, False, [], id="what the machine itself brings"),
        pytest.param({"memory_mib": 2048.0}, True, [], id="memory"),
        pytest.param({"cpus": 0.5}, True, [], id="processors"),
        pytest.param({"disk_gib": 80.0}, True, [], id="disk"),
        pytest.param({"public_keys": ["ssh-ed25519 BBBB"]}, True, [], id="keys"),
        pytest.param({"owner": "/moved/.state"}, True, [], id="checkout moved"),
        pytest.param({"name": "local-2"}, True, ["name"], id="name"),
        pytest.param({"__provider": "new pickle"}, True, [], id="module of the provider moved"),
    ],
)
def test_only_another_name_makes_another_machine(change: dict[str, Any], changes: bool, replaces: list[str]) -> None:
    result = LocalMachineProvider().diff("0123abcd", {**INPUTS, "host": {"name": "local-1"}}, {**INPUTS, **change})
    assert (result.changes, result.replaces) == (changes, replaces)


def test_the_serialised_provider_is_the_same_each_time() -> None:
    """Otherwise a second `up` would see a change."""
    assert serialize_provider(LocalMachineProvider()) == serialize_provider(LocalMachineProvider())


def test_loads_the_provider_from_the_state_of_an_older_release() -> None:
    """0.1.0 had the class in infra/local/provider.py. A module that cannot be imported fails `up` and `destroy`."""
    in_state = "gASVNAAAAAAAAACMFGluZnJhLmxvY2FsLnByb3ZpZGVylIwUTG9jYWxNYWNoaW5lUHJvdmlkZXKUk5QpgZQu"
    assert type(pickle.loads(base64.b64decode(in_state))) is LocalMachineProvider  # noqa: S301  # our own constant


def test_a_dead_machine_reads_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "read", lambda _id: None)
    assert LocalMachineProvider().read("0123abcd", INPUTS).id == ""


def test_an_error_reaches_the_engine_with_its_detail(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_id: str) -> None:
        raise HostError("could not be removed completely", where="machine 0123abcd", detail="process 42")

    monkeypatch.setattr(machine, "destroy", fail)
    with pytest.raises(RuntimeError, match="machine 0123abcd: could not be removed completely\nprocess 42"):
        LocalMachineProvider().delete("0123abcd", INPUTS)
