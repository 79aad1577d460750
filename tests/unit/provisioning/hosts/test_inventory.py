"""Hosts are read from a stack's outputs or an inventory file, and each error is one line."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import ConfigError, DeployError, UsageError, run_cli
from core.paths import CHECKOUT
from infra.config import reader
from infra.lifecycle import saved
from provisioning.hosts import inventory as inventory_module
from provisioning.hosts.inventory import choose, choose_engines, load, load_to_look, mention_changed_file
from provisioning.hosts.target import Target
from provisioning.operate.status import status
from serving.spec.rules import METRICS_PORT
from tests.unit.infra.config.conftest import changed
from tests.unit.provisioning.records import HOST_KEY, host_values, stack, stack_values

YAML = f"""
stack: rack
hosts:
  - name: gpu1
    address: 10.0.0.4
    user: ubuntu
    host_keys: ["{HOST_KEY}"]
    identity_file: keys/id_ed25519
    cpu_count: 16
    memory_gib: 64
serving:
  model: {{name: tiny, source: {{kind: tiny, name: llama}}}}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return tmp_path / "hosts.yaml"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def write(path: Path, values: dict[str, Any]) -> Target:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
    return Target(inventory=str(path))


def test_yaml_is_read_and_the_identity_file_starts_beside_it(inventory: Path) -> None:
    inventory.write_text(YAML)
    outputs = load(Target(inventory=str(inventory)))
    assert outputs.stack == "rack"
    assert outputs.hosts[0].identity_file == inventory.parent / "keys/id_ed25519"


def test_the_example_in_the_documentation_is_a_good_one(inventory: Path) -> None:
    text = (CHECKOUT / "docs/inventory.md").read_text()
    inventory.write_text(text.split("```yaml\n")[1].split("```")[0])
    outputs = load(Target(inventory=str(inventory)))
    assert [host.name for host in choose(outputs, [])] == ["gpu1"]


def test_json_is_read(inventory: Path) -> None:
    assert load(write(inventory, stack_values())) == stack()


def test_tilde_is_the_users_home(inventory: Path) -> None:
    target = write(inventory, stack_values(host_values(identity_file="~/.ssh/id_ed25519")))
    assert load(target).hosts[0].identity_file == Path.home() / ".ssh/id_ed25519"


def test_outputs_that_up_wrote_are_read(state: Path) -> None:
    write(state / "stacks/test/outputs.json", stack_values())
    assert load(Target(stack="test")) == stack()


REFUSED = {
    "unknown key": (stack_values(gatewy={}), "hosts.yaml: gatewy: is not a known key; did you mean gateway?"),
    "no hosts": (stack_values() | {"hosts": []}, "hosts.yaml: hosts: is empty"),
    "host twice": (stack_values(host_values("a"), host_values("a")), "hosts.yaml: hosts[1]: a is given twice"),
    "bad range": (stack_values(host_values(ssh_cidrs=["10.1.2.3/8"])), "hosts.yaml: hosts[0].ssh_cidrs[0]: 10.1.2.3/8"),
    "port of the engine": (
        stack_values(gateway={"port": 8000}),
        "hosts.yaml: gateway.port: 8000 is also the engine's port",
    ),
    "port of the metrics": (
        stack_values(gateway={"port": METRICS_PORT}),
        "hosts.yaml: gateway.port: 8405 is the port of the gateway's metrics; write another port",
    ),
    "no host key": (stack_values(host_values(host_keys=[])), "hosts.yaml: hosts[0].host_keys: is empty"),
    "half a host key": (
        stack_values(host_values(host_keys=["AAAA"])),
        "hosts.yaml: hosts[0].host_keys[0]: AAAA is not a",
    ),
    "login is an option": (stack_values(host_values(user="-oX=y")), "hosts.yaml: hosts[0].user: -oX=y is not a login"),
    "address is an option": (
        stack_values(host_values(address="-x")),
        "hosts.yaml: hosts[0].address: -x is not an address",
    ),
    "address of two lines": (stack_values(host_values(address="a\nb k")), "hosts.yaml: hosts[0].address: 'a\\nb k' is"),
    "stack is a path": (stack_values(stack="../x"), "hosts.yaml: stack: ../x is not a stack name"),
    "number of truth": (stack_values(host_values(cpu_count=True)), "hosts.yaml: hosts[0].cpu_count: true is no"),
    "port": (stack_values(host_values(ssh_port=0)), "hosts.yaml: hosts[0].ssh_port: 0 is out of range"),
}


@pytest.mark.parametrize(("values", "line"), REFUSED.values(), ids=REFUSED.keys())
def test_wrong_value_is_reported_with_file_and_key(
    inventory: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], line: str
) -> None:
    monkeypatch.chdir(inventory.parent)
    write(inventory, values)
    with pytest.raises(ConfigError) as caught:
        load(Target(inventory="hosts.yaml"))
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


ADDRESSES = {
    "10.0.0.4:22": "has a port",
    "[2001:db8::1]": "is in brackets",
    "0x7f.0.1": "is not an address",
    "10.0x4": "is not an address",
    "fe80::1%-oProxyCommand=x y": "names no interface behind the %",
    "fe80::1%a\nb": "names no interface behind the %",
    "fe80::1": "write the interface of this machine",
    "0.0.0.0": "is not the address of a single host",  # noqa: S104
    "::": "is not the address of a single host",
    "ff02::1%eth0": "is not the address of a single host",
    "255.255.255.255": "is not the address of a single host",
    "fe80::1%eth0": "",
    "::ffff:10.0.0.4": "",
    "h.example.com.": "",
}


@pytest.mark.parametrize(("address", "said"), ADDRESSES.items())
def test_an_address_leads_to_one_host_and_is_one_word(inventory: Path, address: str, said: str) -> None:
    """Blanks after the `%` of an IPv6 address once reached ssh's command line and known_hosts."""
    write(inventory, stack_values(host_values(address=address)))
    if not said:
        assert load(Target(inventory=str(inventory))).hosts[0].address == address
        return
    with pytest.raises(ConfigError, match=f"hosts.0..address: .* ?{said}"):
        load(Target(inventory=str(inventory)))


BAD_HOSTS_AND_ENGINES: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "cases/inventory.yaml").read_text()
)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["case"]) for case in BAD_HOSTS_AND_ENGINES])
def test_a_wrong_host_or_engine_ends_a_task_before_it_connects(
    inventory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: dict[str, Any]
) -> None:
    """One line for each mistake, exit status 2; no host is reached, as 203.0.113.7 would take 10 s not to answer."""
    monkeypatch.chdir(inventory.parent)
    inventory.write_text(yaml.safe_dump(changed(stack_values(), case)))
    assert run_cli(lambda: status(Target(inventory="hosts.yaml"), names=[], at_once=1, as_json=False)) == 2
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [f"error: hosts.yaml: {line}" for line in case["lines"]]
    assert shown.out == ""


@pytest.mark.parametrize(
    ("target", "line"),
    [
        pytest.param(Target(inventory="none.yaml"), "none.yaml: there is no such file", id="no such file"),
        pytest.param(
            Target(stack="lcal"), "stacks/Pulumi.lcal.yaml: there is no stack lcal; did you mean local?", id="near miss"
        ),
        pytest.param(
            Target(stack="local"), "stack local: has no machines yet; run `make up STACK=local`", id="before up"
        ),
    ],
)
@pytest.mark.usefixtures("state")
def test_missing_stack_or_file_is_wrong_usage(target: Target, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(target)
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n"], ids=["empty", "list", "text"])
def test_a_file_without_a_mapping_is_refused(inventory: Path, text: str) -> None:
    inventory.write_text(text)
    with pytest.raises(ConfigError, match="is not a mapping"):
        load(Target(inventory=str(inventory)))


def test_hosts_are_chosen_by_name_in_the_order_of_the_file() -> None:
    outputs = stack(host_values("a"), host_values("b"), host_values("c"))
    assert [host.name for host in choose(outputs, [])] == ["a", "b", "c"]
    assert [host.name for host in choose(outputs, ["c", "a"])] == ["a", "c"]


def test_an_unknown_host_is_wrong_usage() -> None:
    with pytest.raises(DeployError, match="test has no host gpu2; did you mean gpu1") as caught:
        choose(stack(host_values("gpu1")), ["gpu2"])
    assert caught.value.exit_code == 2


def test_engine_tasks_choose_hosts_with_an_engine() -> None:
    """Restart and upgrade once failed at the gateway's host of a tunnel, which has none."""
    tunnel = {"engine": "laptop", "gateway": "front"}
    outputs = stack(host_values("laptop"), host_values("front"), tunnel=tunnel)
    for names in ([], ["laptop"]):
        assert [host.name for host in choose_engines(outputs, names)] == ["laptop"]
    with pytest.raises(UsageError, match="--host: front has no engine; write HOST=laptop, the host with the engine"):
        choose_engines(outputs, ["front"])


@pytest.fixture
def stack_file(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of stack `test`, whose `up` has ended."""
    stacks = tmp_path / "stacks"
    for module in (inventory_module, saved, reader):
        monkeypatch.setattr(module, "STACKS_DIR", stacks)
    stacks.mkdir()
    path = stacks / "Pulumi.test.yaml"
    path.write_text("max_queue: 16\n")
    write(state / "stacks/test/outputs.json", stack_values())
    return path


@pytest.mark.parametrize(
    ("noted", "now", "reported"),
    [
        pytest.param(True, "max_queue: 32\n", True, id="edited"),
        pytest.param(True, "max_queue: 16\n", False, id="the same"),
        pytest.param(True, "", False, id="gone"),
        pytest.param(False, "max_queue: 32\n", False, id="made before this was noted"),
    ],
)
def test_stack_file_edited_after_up_is_reported(
    stack_file: Path, capsys: pytest.CaptureFixture[str], *, noted: bool, now: str, reported: bool
) -> None:
    """Once an edit was ignored silently: all commands use the file as the last `up` read it."""
    if noted:
        saved.note_file("test", saved.file_digest("test"))
    if now:
        stack_file.write_text(now)
    else:
        stack_file.unlink()
    mention_changed_file(Target(stack="test"))
    line = "! stacks/Pulumi.test.yaml was edited after the last `up`; `make up STACK=test` applies it\n"
    assert capsys.readouterr().err == (line if reported else "")


def test_hosts_can_be_looked_at_with_a_wrong_manifest(stack_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Once a wrong line in it made `status` and `logs` fail for a broken host."""
    manifest = stack_file.parent / "adapters" / "test.yaml"
    manifest.parent.mkdir()
    manifest.write_text("adaptres: []\n")
    target = Target(stack="test")
    with pytest.raises(ConfigError):
        load(target)
    assert load_to_look(target) == stack()
    assert "stacks/adapters/test.yaml: adapters: is missing" in capsys.readouterr().err


def test_a_manifest_gives_no_name_to_two_pools(inventory: Path) -> None:
    gate, *gpus = (host_values(name, address=f"203.0.113.{number}") for number, name in enumerate("gab", 1))
    model = {"name": "large", "source": {"kind": "hub", "repo": "acme/large", "revision": "0" * 40}}
    hosts = [gate, gpus[0], {**gpus[1], "pool": "large"}]
    write(inventory, stack_values(*hosts, gateway_host="g", pools={"large": {"model": model}}))
    manifest = inventory.parent / "adapters" / "test.yaml"
    manifest.parent.mkdir()
    source = {"kind": "folder", "path": "/adapter"}
    plain = {"name": "large", "version": 1, "base": "tiny", "rank": 8, "target_modules": ["q_proj"]}
    manifest.write_text(json.dumps({"adapters": [{**plain, "source": source, "sha256": "a" * 64}]}))
    line = "with its adapters: pools.large.model.name: large is also a name in serving; give it another name"
    with pytest.raises(ConfigError, match=line):
        load(Target(inventory=str(inventory)))


@pytest.mark.usefixtures("stack_file")
def test_interrupted_up_differs_from_no_up(state: Path) -> None:
    """Once `status` said that there were no machines yet, although one was running."""
    folder = state / "stacks/test"
    (folder / "outputs.json").unlink()
    with pytest.raises(UsageError, match="has no machines yet"):
        load(Target(stack="test"))
    (folder / "engine.pid").write_text("1 2\n")
    remedy = "was interrupted, or failed; run `make up STACK=test` again, or `make down STACK=test` to undo"
    with pytest.raises(UsageError, match=re.escape(remedy)):
        load(Target(stack="test"))


@pytest.mark.parametrize(("name", "stack"), [("Pulumi.mine.yaml", "mine"), ("copy.yaml", "NAME")])
def test_a_stack_file_in_place_of_an_inventory_names_the_right_word(tmp_path: Path, name: str, stack: str) -> None:
    """Once each unknown key of an inventory was a separate problem."""
    (tmp_path / name).write_text("config:\n  llm-deploy:deployment: {cloud: local}\n")
    with pytest.raises(ConfigError) as caught:
        load(Target(inventory=str(tmp_path / name)))
    error = caught.value
    assert (error.what, error.detail) == ("is a stack file, not an inventory", "")
    assert error.hint == f"write STACK={stack} in place of INVENTORY"


def test_reading_hosts_loads_no_model_of_a_stacks_config() -> None:
    """They take a tenth of the time before a provision reaches its hosts, and only the proxy's is used."""
    code = "import sys, provisioning.apply.provision; print('infra.config.models.deployment' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
