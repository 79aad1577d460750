"""OpenSSH is started with our key and our known hosts, and nothing of the user's own settings."""

from pathlib import Path

import pytest

from core.errors import UsageError
from provisioning.shell import ssh, ssh_arguments
from provisioning.target import Target
from tests.unit.provisioning.records import host, host_values, stack


def test_only_our_key_and_our_known_hosts_count() -> None:
    arguments = ssh_arguments(host(identity_file="/k", ssh_port=2222), Path("/known"), "uptime")
    assert arguments[:3] == ["ssh", "-F", "none"]
    assert {"StrictHostKeyChecking=yes", "UserKnownHostsFile=/known", "GlobalKnownHostsFile=/dev/null"} < set(arguments)
    assert "IdentitiesOnly=yes" in arguments
    assert arguments[-4:] == ["-l", "admin", "203.0.113.7", "uptime"]
    assert arguments[arguments.index("-p") + 1] == "2222"


def test_one_of_several_hosts_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = stack(host_values("a"), host_values("b"))
    monkeypatch.setattr("provisioning.shell.load_to_look", lambda _: outputs)
    with pytest.raises(UsageError, match="test has 2 hosts; name one of a, b"):
        ssh(Target(stack="test"), names=[], command="")
