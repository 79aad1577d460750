"""OpenSSH is started with our key and our known hosts, and nothing of the user's own settings."""

import re
import subprocess
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize(("settings", "alive"), [(None, "15"), ("ServerAliveInterval 60\n", "60")])
def test_the_shell_of_a_host_that_vanished_ends(tmp_path: Path, settings: str | None, alive: str) -> None:
    """It once hung for ten minutes after `make down` of its host. The user's own settings come first."""
    config = None
    if settings is not None:
        config = tmp_path / "config"
        config.write_text(settings)
    target = ssh_target(ssh_config=str(config) if config else None)
    program, *arguments = ssh_arguments(target, Path("/known"), "uptime")
    read = subprocess.run([program, "-G", *arguments], capture_output=True, text=True, check=True).stdout
    assert f"serveraliveinterval {alive}\n" in read


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


POOL = [host_values("p-1", address="203.0.113.1", cloud="local"), host_values("p-gateway", cloud="local")]
MONITORED = {"monitoring": {"grafana": GRAFANA.model_dump(mode="json")}}
FORWARDS: dict[str, tuple[dict[str, Any], list[str], int, str]] = {
    "prometheus": (
        MONITORED,
        [],
        9090,
        "port 9090 of p-gateway; open http://127.0.0.1:9090/classic/alerts; Ctrl-C ends",
    ),
    "grafana": (MONITORED, [], 3000, "port 3000 of p-gateway; open http://127.0.0.1:3000/;"),
    "metrics of a pool": ({}, [], 8405, "port 8405 of p-gateway; open http://127.0.0.1:8405/metrics;"),
    "metrics of an engine's host": ({}, ["p-1"], 8405, "port 8405 of p-1;"),
}
REFUSED: dict[str, tuple[dict[str, Any], list[str], int, str]] = {
    "a port that sshd refuses": (
        *({}, ["p-gateway"], 22),
        "--forward: sshd of p-gateway does not forward port 22; write one of 8405, 9400",
    ),
    "no monitoring": (
        *({}, [], 9090),
        "write one of 8405, 9400; 9090 needs gateway.monitoring in the stack file",
    ),
    "no Prometheus here": (
        *(MONITORED, ["p-1"], 9090),
        "--host: p-1 has nothing at port 9090; write HOST=p-gateway, the host with the gateway",
    ),
    "any host could be meant": ({}, [], 9400, "--host: test has 2 hosts; write HOST=NAME with one of p-1, p-gateway"),
}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Return the command lines that would replace this process."""
    argvs: list[list[str]] = []
    monkeypatch.setattr("provisioning.operate.shell.stack_state_dir", lambda _: tmp_path)
    monkeypatch.setattr("os.execv", lambda _, argv: argvs.append(argv))
    return argvs


@pytest.mark.parametrize("case", FORWARDS.values(), ids=FORWARDS)
def test_forwarding_finds_the_host_and_says_what_to_open(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], started: list[list[str]], case: Any
) -> None:
    gateway, names, port, said = case
    outputs = stack(*POOL, gateway=gateway, gateway_host="p-gateway")
    monkeypatch.setattr("provisioning.operate.shell.load_to_look", lambda _: outputs)
    ssh(Target(stack="test"), names=names, command="", forward=port)
    assert said in capsys.readouterr().err
    assert [f"127.0.0.1:{port}:127.0.0.1:{port}" in argv for argv in started] == [True]


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_forwarding_what_cannot_work_is_refused(
    monkeypatch: pytest.MonkeyPatch, started: list[list[str]], case: Any
) -> None:
    """ssh alone hung without a word."""
    gateway, names, port, said = case
    outputs = stack(*POOL, gateway=gateway, gateway_host="p-gateway")
    monkeypatch.setattr("provisioning.operate.shell.load_to_look", lambda _: outputs)
    with pytest.raises(UsageError) as refused:
        ssh(Target(stack="test"), names=names, command="", forward=port)
    assert said in str(refused.value)
    assert not started


def test_one_of_several_hosts_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = stack(host_values("a"), host_values("b"))
    monkeypatch.setattr("provisioning.operate.shell.load_to_look", lambda _: outputs)
    with pytest.raises(UsageError, match="test has 2 hosts; write HOST=NAME with one of a, b"):
        ssh(Target(stack="test"), names=[], command="")
