"""Each alert fires when it should and not otherwise, as Prometheus's own `promtool` computes it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioning.roles.monitoring.alerts import Alert, alerts, rules_file
from serving.spec.models import GatewaySpec
from serving.spec.monitoring_fields import MonitoringSpec
from tests.gateways import vllm_serving

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "cases" / "alerts.yaml").read_text())
SERVING, GATEWAY = vllm_serving(8000), GatewaySpec(monitoring=MonitoringSpec())
POOLS = ("main",)


def made() -> dict[str, Alert]:
    """Return the alerts of a stack with the defaults, by name."""
    assert GATEWAY.monitoring
    return {alert.name: alert for alert in alerts(SERVING, GATEWAY, GATEWAY.monitoring, POOLS)}


def test_each_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    for fires in (True, False):
        assert {case["alert"] for case in CASES if ("fires" in case) == fires} == set(made())


def test_each_name_is_one_rule() -> None:
    assert GATEWAY.monitoring
    assert len(alerts(SERVING, GATEWAY, GATEWAY.monitoring, POOLS)) == len(made())


DEAD_HOST = {
    'up{job="haproxy",host="gate"}': "1x10",
    **{f'up{{job="{job}",host="gpu-2"}}': "1 0x10" for job in ("watch", "access", "engine", "node")},
    'haproxy_server_status{proxy="main",server="gpu-2",state="UP",host="gate"}': "1 0x10",
    'haproxy_server_status{proxy="main",server="gpu-2",state="DOWN",host="gate"}': "0 1x10",
}
ANOTHER_ENGINE = {
    'haproxy_server_status{proxy="main",server="gpu-1",state="UP",host="gate"}': "1x10",
    'haproxy_backend_active_servers{proxy="main",host="gate"}': "2 1x10",
}
NO_OTHER_ENGINE = {'haproxy_backend_active_servers{proxy="main",host="gate"}': "1 0x10"}


@pytest.mark.parametrize(
    ("others", "labels"),
    [
        (ANOTHER_ENGINE, '{alertname="EngineOut", host="gpu-2"}'),
        (NO_OTHER_ENGINE, '{alertname="NoReadyEngine", host="gate"}'),
    ],
    ids=["one of two", "the only one"],
)
def test_a_dead_host_is_one_alert(others: dict[str, str], labels: str, tmp_path: Path) -> None:
    firing = {
        "expr": 'sum by (alertname, host) (ALERTS{alertstate="firing"})',
        "eval_time": "8m",
        "exp_samples": [{"labels": labels, "value": 1}],
    }
    _promtool(tmp_path, DEAD_HOST | others, {"promql_expr_test": [firing]})


@pytest.mark.parametrize("case", CASES, ids=[f"{case['alert']}: {case['case']}" for case in CASES])
def test_alert(case: dict[str, Any], tmp_path: Path) -> None:
    expected = {"eval_time": case["at"], "alertname": case["alert"], "exp_alerts": _expected(case)}
    _promtool(tmp_path, case["series"], {"alert_rule_test": [expected]})


def _promtool(folder: Path, series: dict[str, str], test: dict[str, Any]) -> None:
    """Run one test of the stack's rules."""
    assert GATEWAY.monitoring
    (folder / "rules.yml").write_text(rules_file(SERVING, GATEWAY, GATEWAY.monitoring, POOLS))
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    tests = [{"interval": "1m", "input_series": inputs, **test}]
    whole = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    (folder / "test.yml").write_text(yaml.safe_dump(whole))
    argv = ["promtool", "test", "rules", "test.yml"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _expected(case: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the alerts as promtool wants them."""
    if "fires" not in case:
        return []
    alert = made()[case["alert"]]
    labels = {name: value for name, value in case["fires"].items() if name != "summary"}
    annotations = {"summary": case["fires"]["summary"], "do": alert.do}
    return [{"exp_labels": {"severity": alert.severity, **labels}, "exp_annotations": annotations}]


@pytest.mark.parametrize(("days", "before"), [(90, 14), (56, 14), (30, 7), (2, 1)])
def test_the_certificate_of_a_short_life_is_late_only_after_its_renewal(days: int, before: int) -> None:
    gateway = GatewaySpec.model_validate({"monitoring": {}, "tls": {"kind": "project_ca", "days": days}})
    assert gateway.monitoring
    (alert,) = [each for each in alerts(SERVING, gateway, gateway.monitoring, POOLS) if each.name.startswith("Cert")]
    assert alert.expr.endswith(f"< {before}")
    assert before <= days / 2


def test_the_alert_about_doors_beside_the_users_own_files_says_what_to_renew() -> None:
    """It is one alert for all hosts: the doors' certificates come from the checkout's CA in any case."""
    tls = {"kind": "files", "certificate": "tls/own.pem", "key": "tls/own.key"}
    gateway = GatewaySpec.model_validate({"monitoring": {}, "tls": tls})
    assert gateway.monitoring
    (alert,) = [each for each in alerts(SERVING, gateway, gateway.monitoring, POOLS) if each.name.startswith("Cert")]
    assert alert.expr.endswith("< 14")
    assert alert.do == "If clients use this host, renew tls/own.pem first. Run `make provision`."
