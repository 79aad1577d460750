"""Connections before the file of hosts is checked: each is used once, and none makes the task fail."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import HostError
from infra.contract.outputs import HostRecord
from provisioning.hosts import prefetch
from provisioning.hosts.prefetch import Prefetch
from provisioning.hosts.target import Target

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPp1uVd1Ww3ZqSeXG2xQpPS5Bo9nFvFoN5cRvHKwTz1u"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        yield server


def host(listener: socket.socket, name: str = "a") -> dict[str, Any]:
    port = listener.getsockname()[1]
    return {"name": name, "address": "127.0.0.1", "ssh_port": port, "user": "admin", "host_keys": [KEY]}


def begin(folder: Path, content: object, names: tuple[str, ...] = ()) -> Prefetch:
    path = folder / "hosts.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return prefetch.begin(Target(inventory=str(path)), names)


def test_prefetched_session_is_used_once(tmp_path: Path, listener: socket.socket) -> None:
    """The checked record gets the session; a second request gets none."""
    wanted = host(listener)
    begun = begin(tmp_path, {"hosts": [wanted]})
    listener.accept()[0].close()
    record = HostRecord(**wanted, cpu_count=1, memory_gib=1)
    greeted = begun.session(record)
    assert greeted is not None
    with pytest.raises(HostError, match="a \\(admin@127"):
        greeted.channel()
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert begun.session(record) is None


def test_only_named_hosts_are_prefetched(tmp_path: Path, listener: socket.socket) -> None:
    """`--host b` leaves a alone."""
    begin(tmp_path, {"hosts": [host(listener, "a")]}, names=("b",))
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()


ODD = {
    "YAML": "hosts:\n- name: a\n",
    "no mapping": "[]",
    "no hosts": "{}",
    "a host without address": '{"hosts": [{"name": "a"}]}',
    "an address that is a list": '{"hosts": [{"name": "a", "address": [], "user": "x", "host_keys": ["k"]}]}',
}


@pytest.mark.parametrize("case", ODD)
def test_unreadable_file_prefetches_nothing(tmp_path: Path, case: str) -> None:
    """Nothing is raised here: inventory.py reports what is wrong with the file."""
    begin(tmp_path, ODD[case])


def test_missing_file_prefetches_nothing(tmp_path: Path) -> None:
    """The same for a missing file or stack."""
    prefetch.begin(Target(inventory=str(tmp_path / "none.json")), ())
    prefetch.begin(Target(stack="none"), ())
