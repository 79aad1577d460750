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


@pytest.mark.parametrize("case", CASES, ids=[f"{case['alert']}: {case['case']}" for case in CASES])
def test_alert(case: dict[str, Any], tmp_path: Path) -> None:
    assert GATEWAY.monitoring
    (tmp_path / "rules.yml").write_text(rules_file(SERVING, GATEWAY, GATEWAY.monitoring, POOLS))
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in case["series"].items()],
                "alert_rule_test": [
                    {"eval_time": case["at"], "alertname": case["alert"], "exp_alerts": _expected(case)}
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
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
