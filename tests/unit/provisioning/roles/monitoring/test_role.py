"""The resources of the monitoring; the tools of the distribution accept each configuration."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import ConfigError
from core.ports import MONITORING_PORTS
from provisioning.converge.payload import payload_of
from provisioning.converge.resources import Command, File, Packages, Resource, Secret, Unit
from provisioning.roles.host.layout import ALERTMANAGER_UNIT, GRAFANA_UNIT, MONITORING_UNITS, PROMETHEUS_UNIT
from provisioning.roles.monitoring import exporters, role
from provisioning.roles.monitoring.role import monitoring
from tests.unit.provisioning.records import host_values, stack

URL = "https://hooks.example.com/services/secret-part"
EMAIL = {"to": ["a@example.com", "b@example.com"], "sender": "llm@example.com", "server": "smtp.example.com:587"}


def resources(*hosts: dict[str, Any], alerts: dict[str, Any] | None = None, **monitored: Any) -> list[Resource]:
    """Return the role's list for the first host."""
    serving = monitored.pop("serving", None)
    more = {"serving": serving} if serving else {}
    gateway = {"monitoring": monitored, **({"alerts": alerts} if alerts else {})}
    outputs = stack(*hosts, gateway=gateway, **more)
    return monitoring(outputs, outputs.hosts[0])


def files(found: list[Resource]) -> dict[str, File]:
    """Return the files by path."""
    return {each.path: each for each in found if isinstance(each, File)}


def text(file: File) -> str:
    """Return the content of a file."""
    return file.content.value if isinstance(file.content, Secret) else str(file.content)


CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "webhook": {"alerts": {"webhook": "https://example.com/alerts"}},
    "mail": {"alerts": {"email": EMAIL}},
    "ollama": {"serving": {"engine": "ollama", "model": {"name": "tiny", "source": {"kind": "tiny", "name": "llama"}}}},
    "all numbers": {"retention_days": 90, "disk_gib": 50, "first_token_p95_s": 0.5, "error_share": 0.01},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_prometheus_alertmanager_and_mtail_accept_their_files(case: dict[str, Any], tmp_path: Path) -> None:
    found = resources(**case)
    payload_of(found, dry_run=False)  # dependencies come first
    for path, file in files(found).items():
        if file.check:
            kept = tmp_path / Path(path).name
            kept.write_text(text(file).replace(exporters.MONITORING_DIR, str(tmp_path)))
            argv = [word.replace("{path}", str(kept)) for word in file.check]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (path, done.stdout, done.stderr)
    assert {Path(path).name for path, file in files(found).items() if file.check} >= {"prometheus.yml", "rules.yml"}


def test_mtails_check_refuses_a_broken_program(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("counter x\nbroken {\n")
    argv = [word.replace("{path}", str(tmp_path / "new")) for word in exporters.MTAIL_CHECK]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 1


def test_settings_are_there_before_the_packages_first_start() -> None:
    ids = [each.id for each in resources(alerts={"webhook": "https://example.com/alerts"})]
    units = ("prometheus.service", "prometheus-alertmanager.service", "prometheus-node-exporter.service")
    for unit in units:
        assert ids.index(f"file:/etc/systemd/system/{unit}.d/50-llm-deploy.conf") < ids.index("packages:monitoring")


def test_no_conffile_of_a_package_is_changed() -> None:
    paths = files(resources(alerts={"email": EMAIL}))
    assert not [path for path in paths if path.startswith(("/etc/prometheus", "/etc/default", "/etc/mtail"))]


def test_everything_listens_on_loopback_alone() -> None:
    drop_ins = [
        text(file) for path, file in files(resources(alerts={"email": EMAIL})).items() if path.endswith("deploy.conf")
    ]
    assert len(drop_ins) == 3
    for drop_in in drop_ins:
        assert "EnvironmentFile=\n" in drop_in, "the package's settings would come last"
        (arguments,) = [line for line in drop_in.splitlines() if line.startswith('Environment="ARGS=')]
        (listen,) = [word for word in arguments.split() if "web.listen-address" in word]
        address, _, port = listen.strip('"').rpartition("=")[2].partition(":")
        assert address == "127.0.0.1"
        assert int(port) in MONITORING_PORTS
    assert any("--cluster.listen-address= " in each or '--cluster.listen-address="' in each for each in drop_ins)


def test_retention_and_memory_are_limited() -> None:
    drop_in = text(
        files(resources(retention_days=30, disk_gib=7))["/etc/systemd/system/prometheus.service.d/50-llm-deploy.conf"]
    )
    assert "--storage.tsdb.retention.time=30d --storage.tsdb.retention.size=7GB" in drop_in
    assert f"MemoryMax={role.PROMETHEUS_MIB}M" in drop_in


def test_without_alerts_there_is_no_alertmanager() -> None:
    found = resources()
    (packages,) = [each for each in found if isinstance(each, Packages)]
    assert packages.present == ("prometheus-node-exporter", "prometheus", "mtail")
    assert "alerting" not in yaml.safe_load(text(files(found)[role.PROMETHEUS_CONFIG]))
    assert ALERTMANAGER_UNIT not in {each.name for each in found if isinstance(each, Unit)}
    (left,) = [each for each in found if isinstance(each, Command) and each.name == f"no-{ALERTMANAGER_UNIT}"]
    assert role.ALERTMANAGER_CONFIG in left.argv[-1]  # it has the secrets of an earlier stack file


def test_all_units_of_the_layout_run() -> None:
    found = resources(alerts={"email": EMAIL})
    assert {each.name for each in found if isinstance(each, Unit) and each.running} == {*MONITORING_UNITS} - {
        GRAFANA_UNIT
    }


def test_secrets_of_alerts_are_in_a_file_that_only_root_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("mail-password\n")
    password.chmod(0o600)
    monkeypatch.setenv("ALERTS_URL", URL)
    monkeypatch.setenv("ALERTS_TOKEN", "token-of-the-webhook")
    alerts = {
        "webhook_from": {"env": "ALERTS_URL"},
        "webhook_token": {"env": "ALERTS_TOKEN"},
        "email": {**EMAIL, "user": "llm", "password": {"file": str(password)}},
    }
    found = files(resources(alerts=alerts))
    secret = found[role.ALERTMANAGER_CONFIG]
    assert isinstance(secret.content, Secret)
    assert (secret.owner, secret.mode) == ("root", 0o600)
    config = yaml.safe_load(secret.content.value)
    (receiver,) = config["receivers"]
    assert receiver["webhook_configs"][0]["url"] == URL
    assert receiver["webhook_configs"][0]["http_config"]["authorization"]["credentials"] == "token-of-the-webhook"
    mails = receiver["email_configs"]
    assert [(mail["to"], mail["auth_password"], mail["require_tls"]) for mail in mails] == [
        ("a@example.com", "mail-password", True),
        ("b@example.com", "mail-password", True),
    ]
    for path, file in found.items():
        if path != role.ALERTMANAGER_CONFIG:
            assert not any(word in text(file) for word in (URL, "token-of-the-webhook", "mail-password"))


def test_mail_to_a_server_on_this_host_needs_no_tls() -> None:
    found = files(resources(alerts={"email": {**EMAIL, "server": "127.0.0.1:25"}}))
    config = yaml.safe_load(text(found[role.ALERTMANAGER_CONFIG]))
    assert not config["receivers"][0]["email_configs"][0]["require_tls"]


WRONG_SECRETS: dict[str, tuple[str | None, str]] = {
    "not set": (None, "is not set"),
    "no URL": ("hooks.example.com", "is not a URL"),
    "unencrypted": ("http://hooks.example.com/x", "unencrypted"),
}


@pytest.mark.parametrize(("value", "words"), WRONG_SECRETS.values(), ids=WRONG_SECRETS)
def test_a_secret_that_cannot_work_is_an_error_without_its_text(
    value: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALERTS_URL", raising=False)
    if value is not None:
        monkeypatch.setenv("ALERTS_URL", value)
    with pytest.raises(ConfigError, match=words) as raised:
        resources(alerts={"webhook_from": {"env": "ALERTS_URL"}})
    assert value is None or value not in str(raised.value)


TARGETS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "vllm": ({}, ["haproxy", "queue", "engine", "watch", "access", "node", "prometheus"]),
    "ollama has no metrics of its own": (
        CASES["ollama"],
        ["haproxy", "queue", "watch", "access", "node", "prometheus"],
    ),
    "alerts": (CASES["mail"], ["haproxy", "queue", "engine", "watch", "access", "node", "prometheus", "alertmanager"]),
}


@pytest.mark.parametrize(("case", "jobs"), TARGETS.values(), ids=TARGETS)
def test_what_prometheus_reads(case: dict[str, Any], jobs: list[str]) -> None:
    config = yaml.safe_load(text(files(resources(**case))[role.PROMETHEUS_CONFIG]))
    assert [job["job_name"] for job in config["scrape_configs"]] == jobs
    for job in config["scrape_configs"]:
        (static,) = job["static_configs"]
        path = {"engine": "/engine-metrics", "queue": "/queue-metrics"}.get(job["job_name"], "/metrics")
        assert static["labels"] == {"host": "one", "__metrics_path__": path}
        assert static["targets"][0].startswith("127.0.0.1:")


def pool_of_hosts(gpu: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return a gateway's host and two engines' hosts; the first of those has `gpu`."""
    places = {"gate": 1, "gpu-1": 2, "gpu-2": 3}
    hosts = [host_values(name, address=f"10.0.0.{place}") for name, place in places.items()]
    return [{**host, "gpu": gpu} if host["name"] == "gpu-1" and gpu else host for host in hosts]


def test_a_gateways_host_reads_the_hosts_behind_it_through_its_haproxy() -> None:
    gpu = {"model": "L4", "count": 1, "vram_gib": 22.5}
    outputs = stack(*pool_of_hosts(gpu), gateway_host="gate", gateway={"monitoring": {}})
    found = files(monitoring(outputs, outputs.hosts[0]))
    config = yaml.safe_load(text(found[role.PROMETHEUS_CONFIG]))
    seen = {
        (static["labels"]["host"], static["labels"]["__metrics_path__"]): static["targets"]
        for job in config["scrape_configs"]
        for static in job["static_configs"]
        if static["labels"]["host"] != "gate"
    }
    both = [f"/{kind}-metrics/{name}" for name in ("gpu-1", "gpu-2") for kind in ("engine", "watch", "node", "access")]
    assert {path for _, path in seen} == {*both, "/gpu-metrics/gpu-1"}
    assert all(path.endswith(f"/{name}") for name, path in seen)
    assert {address for targets in seen.values() for address in targets} == {"127.0.0.1:8405"}


def test_a_host_behind_a_gateways_has_the_exporters_alone() -> None:
    outputs = stack(*pool_of_hosts(), gateway_host="gate", gateway={"monitoring": {}})
    found = monitoring(outputs, outputs.hosts[1])
    payload_of(found, dry_run=False)
    (packages,) = [each for each in found if isinstance(each, Packages)]
    assert packages.present == ("prometheus-node-exporter", "mtail")
    left = {each.name for each in found if isinstance(each, Command)}
    assert {"no-prometheus.service", "no-prometheus-alertmanager.service"} < left
    assert PROMETHEUS_UNIT not in {each.name for each in found if isinstance(each, Unit)}


@pytest.mark.parametrize("running", ["prometheus-node-exporter.service", "mtail.service", ""])
def test_what_runs_for_others_is_left_alone(tmp_path: Path, running: str) -> None:
    found = resources()
    check = found[0]
    assert isinstance(check, Command)
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\n[ "$3" = "{running}" ]\n')
    systemctl.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    said = subprocess.run(check.check, env=environment, capture_output=True, text=True, check=True).stdout
    first = f"planned: fail: {running} runs here for something else;" if running else ""
    assert said.startswith(first) if running else said == ""
    needs = {each.id: each.after for each in found}
    assert needs[f"directory:{exporters.MONITORING_DIR}"] == (check.id,)


@pytest.mark.parametrize(("virtualization", "read"), [("vm", True), ("container", False)])
def test_the_gpus_exporter_is_read_where_the_engines_role_installs_it(virtualization: str, read: bool) -> None:
    gpu = {"model": "L4", "count": 1, "vram_gib": 22.5}
    found = resources(host_values(gpu=gpu, virtualization=virtualization))
    config = yaml.safe_load(text(files(found)[role.PROMETHEUS_CONFIG]))
    at = [job["static_configs"][0]["targets"][0] for job in config["scrape_configs"]]
    assert ("127.0.0.1:9400" in at) == read


def test_without_the_key_one_cheap_command_removes_what_was_there() -> None:
    outputs = stack()
    (only,) = monitoring(outputs, outputs.hosts[0])
    assert isinstance(only, Command)
    assert [unit for unit in MONITORING_UNITS if unit not in " ".join(only.argv)] == []
