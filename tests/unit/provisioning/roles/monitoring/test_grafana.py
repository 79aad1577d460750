"""The resources of Grafana. The installed package is looked at on a machine: tests/machine/test_gateway.py."""

import configparser
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import ConfigError
from core.files import sha256_of
from core.ports import GRAFANA_PORT
from provisioning.converge.payload import payload_of
from provisioning.converge.resources import Command, Download, File, GeneratedSecret, Resource, Secret, Tree, Unit
from provisioning.roles.host.layout import GRAFANA_UNIT, MONITORING_UNITS
from provisioning.roles.monitoring import grafana as role
from provisioning.roles.monitoring.daemons import drop_in_path
from provisioning.roles.monitoring.role import monitoring
from serving.spec.gateway_size import GRAFANA_MIB
from tests.unit.provisioning.records import host_values, stack

URL = "https://example.com/grafana_12.0.0_amd64.deb"
PASSWORD = "grafana-password"
SHA256 = "a" * 64


@pytest.fixture(autouse=True)
def stored_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFANA_PASSWORD", PASSWORD)


def resources(*hosts: dict[str, Any], gateway_host: str | None = None, at: int = 0, **fields: Any) -> list[Resource]:
    """Return the list of a host whose stack names a package of Grafana."""
    values = {"deb": URL, "sha256": SHA256, "admin_password": {"env": "GRAFANA_PASSWORD"}, **fields}
    more = {"gateway_host": gateway_host} if gateway_host else {}
    outputs = stack(*hosts, gateway={"monitoring": {"grafana": values}}, **more)
    found = monitoring(outputs, outputs.hosts[at])
    payload_of(found, dry_run=False)  # dependencies come first
    return found


def files(found: list[Resource]) -> dict[str, File]:
    """Return the files by path."""
    return {each.path: each for each in found if isinstance(each, File)}


def test_all_units_run() -> None:
    running = {each.name for each in resources() if isinstance(each, Unit) and each.running}
    assert running == {*MONITORING_UNITS} - {"prometheus-alertmanager.service"}


def test_the_settings_close_it_to_others() -> None:
    content = files(resources())[role.GRAFANA_CONFIG].content
    assert isinstance(content, str)
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(content)
    wanted = {
        ("server", "http_addr"): "127.0.0.1",
        ("server", "http_port"): str(GRAFANA_PORT),
        ("security", "admin_password"): "$__file{/run/credentials/grafana-server.service/admin-password}",
        ("security", "secret_key"): "$__file{/run/credentials/grafana-server.service/secret-key}",
        ("security", "disable_gravatar"): "true",
        ("users", "allow_sign_up"): "false",
        ("auth.anonymous", "enabled"): "false",
        ("analytics", "reporting_enabled"): "false",
        ("analytics", "check_for_updates"): "false",
        ("analytics", "check_for_plugin_updates"): "false",
        ("news", "news_feed_enabled"): "false",
        ("snapshots", "external_enabled"): "false",
        ("plugins", "preinstall_disabled"): "true",
    }
    assert {place: settings.get(*place) for place in wanted} == wanted


def test_the_unit_reads_our_files_and_reaches_this_host_alone() -> None:
    drop_in = str(files(resources())[drop_in_path(GRAFANA_UNIT)].content)
    assert "EnvironmentFile=\n" in drop_in, "the package's settings would come last"
    for line in (
        f'Environment="CONF_FILE={role.GRAFANA_CONFIG}"',
        f"LoadCredential=admin-password:{role.ADMIN_PASSWORD}",
        f"MemoryMax={GRAFANA_MIB}M",
        "IPAddressDeny=any",
        "IPAddressAllow=localhost",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
    ):
        assert f"{line}\n" in drop_in


def test_no_file_of_the_package_is_changed_and_no_secret_is_elsewhere() -> None:
    found = resources()
    assert not [path for path in files(found) if path.startswith(("/etc/grafana", "/etc/default", "/usr/share"))]
    secret = files(found)[role.ADMIN_PASSWORD]
    assert secret.content == Secret(f"{PASSWORD}\n")
    assert (secret.owner, secret.mode) == ("root", 0o600)
    assert PASSWORD not in repr(found)
    (key,) = [each for each in found if isinstance(each, GeneratedSecret)]
    assert (key.path, key.mode) == (role.SECRET_KEY, 0o600)


def test_datasource_and_dashboards_are_files_that_grafana_reads() -> None:
    """The keys are those of DashboardProviderConfigs and upsertDataSourceFromConfigV1 in Grafana's source."""
    found = files(resources())
    sources, providers = (
        yaml.safe_load(str(found[f"{role.PROVISIONING_DIR}/{kind}/llm-deploy.yaml"].content))
        for kind in ("datasources", "dashboards")
    )
    (source,), (provider,) = sources["datasources"], providers["providers"]
    assert sources["apiVersion"] == providers["apiVersion"] == 1
    assert set(source) <= {"name", "uid", "type", "access", "url", "isDefault", "editable", "jsonData"}
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://127.0.0.1:9090", True)
    assert set(provider) <= {
        *("name", "type", "folder", "disableDeletion", "allowUiUpdates", "updateIntervalSeconds", "options")
    }
    assert provider["options"] == {"path": role.DASHBOARDS_DIR}
    uids = {json.loads(str(file.content))["uid"] for path, file in found.items() if role.DASHBOARDS_DIR in path}
    assert uids == {"llm-engines", "llm-gateway", "llm-hosts"}


def test_the_host_fetches_a_url_and_checks_it() -> None:
    (download,) = [each for each in resources() if isinstance(each, Download)]
    assert (download.url, download.sha256) == (URL, SHA256)
    assert download.path == f"{role.PACKAGE_DIR}/{role.PACKAGE_NAME}"


def test_a_file_of_this_computer_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    package = tmp_path / "mine.deb"
    package.write_bytes(b"package")
    (tree,) = [each for each in resources(deb=str(package), sha256=sha256_of(package)) if isinstance(each, Tree)]
    assert tree.path == role.PACKAGE_DIR
    assert [(each.name, each.read_bytes()) for each in tree.source.iterdir()] == [(role.PACKAGE_NAME, b"package")]


def test_a_wrong_file_of_this_computer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"grafana\.deb: there is no file /nonexistent/grafana\.deb"):
        resources(deb="/nonexistent/grafana.deb")
    package = tmp_path / "mine.deb"
    package.write_bytes(b"another package")
    with pytest.raises(ConfigError, match=rf"grafana\.sha256: .*mine\.deb has SHA-256 {sha256_of(package)}"):
        resources(deb=str(package))


@pytest.mark.parametrize(("value", "words"), [(None, "is not set"), ("short", "is too short")])
def test_a_password_that_cannot_be_used_is_an_error(
    value: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRAFANA_PASSWORD")
    if value is not None:
        monkeypatch.setenv("GRAFANA_PASSWORD", value)
    with pytest.raises(ConfigError, match=words) as raised:
        resources()
    assert value is None or f"{value} " not in str(raised.value)


def test_a_failure_of_grafana_holds_up_nothing_else() -> None:
    found = resources()
    begin = next(index for index, each in enumerate(found) if each.id == "command:no-other-grafana")
    own = {each.id for each in found[begin:]}
    assert not [each.id for each in found[:begin] if own & {*each.after, *getattr(each, "restart_on", ())}]


@pytest.mark.parametrize("state", ["is-active", "is-enabled", ""])
def test_a_grafana_of_somebody_else_is_left_alone(state: str, tmp_path: Path) -> None:
    found = resources()
    needs = {each.id: each.after for each in found}
    check = next(each for each in found if each.id == "command:no-other-grafana")
    assert isinstance(check, Command)
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\n[ "$2 $3" = "{state} {GRAFANA_UNIT}" ]\n')
    (tmp_path / "systemctl").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    said = subprocess.run(check.check, env=environment, capture_output=True, text=True, check=True).stdout
    refusal = f"planned: fail: {GRAFANA_UNIT} runs here for something else; leave out gateway.monitoring.grafana"
    assert said.startswith(refusal) if state else said == ""
    assert f"[ -e {drop_in_path(GRAFANA_UNIT)} ] ||" in check.check[2]
    # All that changes the unit comes after the check.
    assert needs[f"directory:{role.GRAFANA_DIR}"] == (check.id,)
    for kind in (f"file:{drop_in_path(GRAFANA_UNIT)}", f"download:{role.PACKAGE_DIR}/{role.PACKAGE_NAME}"):
        assert needs[kind] == (f"directory:{role.GRAFANA_DIR}",)


def test_only_the_gateways_host_has_it_and_others_lose_it() -> None:
    hosts = [host_values("gate", address="10.0.0.1"), host_values("gpu-1", address="10.0.0.2")]
    assert role.GRAFANA_CONFIG in files(resources(*hosts, gateway_host="gate"))
    found = resources(*hosts, gateway_host="gate", at=1)
    assert role.GRAFANA_CONFIG not in files(found)
    (left,) = [each for each in found if each.id == f"command:no-{GRAFANA_UNIT}"]
    assert isinstance(left, Command)
    assert f"rm -rf {role.GRAFANA_DIR} {role.PACKAGE_DIR} {drop_in_path(GRAFANA_UNIT)}" in left.argv[-1]
