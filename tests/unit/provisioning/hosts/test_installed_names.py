"""What the gateway's host may ask of the hosts behind it, as it is kept on the controlling machine."""

from pathlib import Path

import pytest

from core.errors import ConfigError
from infra.contract.outputs import StackOutputs
from provisioning.hosts.installed_names import all_names, installed_names, names_file, note_names, unknown_hosts
from tests.unit.provisioning.records import host_values, stack


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    return tmp_path


def pool(*names: str) -> StackOutputs:
    """Return a stack with hosts behind the one called `gate`."""
    hosts = [host_values(name, address=f"10.0.0.{number}") for number, name in enumerate((*names, "gate"), start=1)]
    return stack(*hosts, gateway_host="gate")


def test_a_host_that_was_never_provisioned_has_no_names() -> None:
    assert installed_names(pool("a", "b")) == {"a": (), "b": ()}


def test_a_host_keeps_its_names_until_its_next_success() -> None:
    outputs = pool("a", "b")
    note_names(outputs, all_names(outputs))
    note_names(outputs, {"b": ("tiny", "contract")})
    assert installed_names(outputs) == {"a": ("tiny",), "b": ("tiny", "contract")}


def test_a_host_that_was_never_tried_stays_unknown() -> None:
    outputs = pool("a", "b", "c")
    note_names(outputs, {"a": ("tiny",), "b": ()})
    assert installed_names(outputs) == {"a": ("tiny",), "b": (), "c": ()}
    assert unknown_hosts(outputs) == ("c",)


def test_a_host_that_left_the_stack_is_forgotten() -> None:
    outputs = pool("a", "b")
    note_names(outputs, all_names(outputs))
    note_names(pool("a"), {})
    assert installed_names(outputs) == {"a": ("tiny",), "b": ()}


def test_a_stack_whose_hosts_have_gateways_keeps_no_names() -> None:
    outputs = stack(host_values("a"))
    note_names(outputs, {"a": ("tiny",)})
    assert not names_file(outputs.stack).exists()
    assert all_names(outputs) == {}


@pytest.mark.parametrize("text", ["", "[]", '{"a": "tiny"}', '{"a": [1]}'])
def test_a_damaged_file_is_reported_with_its_path(text: str) -> None:
    outputs = pool("a")
    names_file(outputs.stack).write_text(text)
    with pytest.raises(ConfigError, match=r"installed\.json: holds no names of hosts; remove it"):
        installed_names(outputs)
