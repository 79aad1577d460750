"""Checks of the stand-in for Grafana on a machine."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.files import sha256_of
from infra.contract.outputs import HostRecord
from provisioning.converge.resources import Resource
from provisioning.roles.monitoring.grafana import ADMIN_PASSWORD, GRAFANA_DATA, GRAFANA_DIR, PACKAGE_DIR
from serving.spec.gateway_size import GRAFANA_MIB
from tests.doubles.grafana_package import grafana_package
from tests.machine.converge_host import bring, poll, remote

VARIABLE, FIRST, SECOND = "GRAFANA_PASSWORD", "first-password", "second-password"

THEIRS = """[paths]
data = /var/lib/grafana
provisioning = /etc/grafana/provisioning
[server]
http_addr = 127.0.0.1
http_port = 3000
[security]
admin_password = theirs
secret_key = theirs
"""


def values(folder: Path) -> dict[str, Any]:
    """Return `gateway.monitoring.grafana` with a package that was built in `folder`."""
    package = grafana_package(folder)
    return {"deb": str(package), "sha256": sha256_of(package), "admin_password": {"env": VARIABLE}}


def answer(host: HostRecord, password: str) -> str:
    """Return the status that Grafana answers to its user `admin`."""
    ask = f"curl -s -m 20 -o /dev/null -w '%{{http_code}}' -u admin:{password} http://127.0.0.1:3000/"
    return remote(host, f"{ask} || true").strip()


def is_ours_alone(host: HostRecord) -> None:
    """Check that Grafana has our files and the admin's password, which is nowhere else, and its package is intact."""
    assert answer(host, "wrong") == "401"
    seen = json.loads(remote(host, f"curl -sf -u admin:{FIRST} http://127.0.0.1:3000/"))
    assert seen["dashboards"] == ["llm-engines", "llm-gateway", "llm-hosts"]
    assert [Path(each).parent.name for each in seen["files"]] == ["dashboards", "datasources"]
    assert remote(host, f"stat -c '%a %U' {ADMIN_PASSWORD}").strip() == "600 root"
    shown = remote(host, "systemctl show -p MainPID -p MemoryMax -p IPAddressDeny grafana-server").splitlines()
    unit = dict(line.split("=", 1) for line in shown)
    assert unit["MemoryMax"] == str(GRAFANA_MIB << 20)
    assert "0.0.0.0/0" in unit["IPAddressDeny"]
    process = f"/proc/{unit['MainPID']}"
    assert remote(host, f"stat -c %U {process}").strip() == "grafana"
    elsewhere = f"cat {process}/environ {process}/cmdline; journalctl -o cat; find /etc/llm /etc/systemd -type f"
    elsewhere += " ! -name admin-password -exec cat {} +"
    assert remote(host, f"{{ {elsewhere}; }} | grep -ac {FIRST} || true").strip() == "0"
    assert remote(host, "dpkg --verify grafana") == ""


def is_gone(host: HostRecord) -> None:
    """Check that a run without it removed its files; data and package stay."""
    places = f"/etc/systemd/system/grafana-server.service.d {PACKAGE_DIR} {GRAFANA_DIR}"
    assert not remote(host, f"find {places} -type f 2>/dev/null || true")
    assert remote(host, f"stat -c '%a %U' {GRAFANA_DATA}").strip() == "700 grafana"
    assert remote(host, "systemctl is-enabled grafana-server || true").strip() == "disabled"


def somebody_elses_is_left_alone(host: HostRecord, desired: Sequence[Resource], without: Sequence[Resource]) -> None:
    """Check that the package's own Grafana, with its own settings, is neither taken over nor stopped."""
    remote(host, f"mkdir -p /etc/grafana; cat > /etc/grafana/grafana.ini <<'END'\n{THEIRS}END")
    remote(host, "systemctl start grafana-server")
    check = next(each for each in desired if each.id == "command:no-other-grafana")
    (refused,) = bring(host, [check], dry_run=True).result.failed
    assert refused.error.startswith("grafana-server.service runs here for something else")
    assert bring(host, without).result.changed == ()
    poll(lambda: answer(host, "theirs") == "200")
