"""OpenSSH is started with our key and our known hosts, and nothing of the user's own settings."""

import re
from pathlib import Path

import pytest

from core.errors import UsageError
from core.paths import CHECKOUT
from core.reading.secret import SecretRef
from provisioning.converge.resources import SshdFile
from provisioning.hosts.target import Target
from provisioning.operate.shell import ssh, ssh_arguments
from provisioning.roles.host.base import base
from serving.spec.models import GatewaySpec
from serving.spec.monitoring_fields import GrafanaSpec, MonitoringSpec
from tests.unit.provisioning.records import host, host_values, ssh_target, stack

GRAFANA = GrafanaSpec(deb="grafana.deb", sha256="a" * 64, admin_password=SecretRef(env="GRAFANA_PASSWORD"))


def test_only_our_key_and_our_known_hosts_count() -> None:
    arguments = ssh_arguments(ssh_target(identity_file="/k", ssh_port=2222), Path("/known"), "uptime")
    assert arguments[:3] == ["ssh", "-F", "none"]
    assert {"StrictHostKeyChecking=yes", "UserKnownHostsFile=/known", "GlobalKnownHostsFile=/dev/null"} < set(arguments)
    assert "IdentitiesOnly=yes" in arguments
    assert arguments[-4:] == ["-l", "admin", "203.0.113.7", "uptime"]
    assert arguments[arguments.index("-p") + 1] == "2222"


def test_port_of_the_hosts_loopback_is_forwarded() -> None:
    arguments = ssh_arguments(ssh_target(), Path("/known"), forward=8405)
    assert arguments[arguments.index("-L") + 1] == "127.0.0.1:8405:127.0.0.1:8405"
    assert "-N" in arguments


def test_docs_forward_only_ports_that_our_sshd_allows() -> None:
    """Once two pages said `ssh -L`, which sshd refused, as our file said DisableForwarding."""
    pages = "".join(path.read_text() for path in [CHECKOUT / "README.md", *(CHECKOUT / "docs").rglob("*.md")])
    led = set(re.findall(r"--forward (\d+)", pages))
    settings = str(
        next(
            each
            for each in base(host(cloud="aws"), GatewaySpec(monitoring=MonitoringSpec(grafana=GRAFANA)))
            if isinstance(each, SshdFile)
        ).content
    )
    (opened,) = re.findall(r"^PermitOpen (.*)$", settings, re.MULTILINE)
    assert led == {each.removeprefix("127.0.0.1:") for each in opened.split()}
    assert "AllowTcpForwarding local\n" in settings
    assert "DisableForwarding" not in settings  # it would outdo the others
    assert not re.findall(r"`ssh [^`\n]*-L", pages)


def test_one_of_several_hosts_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = stack(host_values("a"), host_values("b"))
    monkeypatch.setattr("provisioning.operate.shell.load_to_look", lambda _: outputs)
    with pytest.raises(UsageError, match="test has 2 hosts; write HOST=NAME with one of a, b"):
        ssh(Target(stack="test"), names=[], command="")
