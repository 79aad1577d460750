"""The hosts of an inventory: read, checked, with paths made whole."""

from pathlib import Path

import pytest

from core.errors import ConfigError
from infra.clouds.existing.hosts import read_inventory
from tests.engine.checkout import INVENTORY

HOST = INVENTORY.removeprefix("hosts:\n")


def inventory(folder: Path, text: str) -> str:
    (folder / "hosts.yaml").write_text(text)
    return str(folder / "hosts.yaml")


def test_the_hosts_are_read_and_what_they_serve_is_left_to_the_stack(tmp_path: Path) -> None:
    (host,) = read_inventory(inventory(tmp_path, f"hosts:\n{HOST}serving: {{model: nonsense}}\n")).hosts

    assert (host.name, host.cloud) == ("box", "existing")


def test_a_key_lies_beside_the_inventory(tmp_path: Path) -> None:
    (host,) = read_inventory(inventory(tmp_path, f"hosts:\n{HOST}    identity_file: keys/box\n")).hosts

    assert host.identity_file == tmp_path / "keys" / "box"


def test_the_inventory_names_the_host_of_the_gateway(tmp_path: Path) -> None:
    other = HOST.replace("name: box", "name: gate").replace("192.0.2.7", "192.0.2.8")
    text = f"gateway_host: gate\nhosts:\n{HOST}{other}"
    assert read_inventory(inventory(tmp_path, text)).gateway_host == "gate"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "hosts"),
        ("hosts: []\n", "hosts"),
        (f"hosts:\n{HOST}    colour: red\n", r"hosts\[0\]\.colour"),
        ("hosts:\n  - {name: box}\n", r"hosts\[0\]"),
        (f"gateway_host: bux\nhosts:\n{HOST}", r"hosts\.yaml: gateway_host: there is no host bux; did you mean box\?"),
        (f"hosts:\n{HOST}{HOST}", r"hosts\.yaml: hosts\[1\]: box is given twice; write it once"),
    ],
    ids=["empty", "no host", "unknown key", "half a host", "no such gateway host", "a host twice"],
)
def test_a_wrong_inventory_is_refused_with_its_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_inventory(inventory(tmp_path, text))
