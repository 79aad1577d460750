"""The alerts that fire, from Alertmanager's answer or from Prometheus's."""

import json
from typing import Any

import pytest

from core.ports import ALERTMANAGER_PORT, PROMETHEUS_PORT
from provisioning.programs.monitoring.firing_alerts import ALERTMANAGER, PROMETHEUS, firing
from tests.doubles.scripted_http import Scripted, scripted_server


def alert(name: str, severity: str = "warning", **more: Any) -> dict[str, Any]:
    words = {"summary": f"{name} is wrong.", "do": "Look."}
    return {"labels": {"alertname": name, "severity": severity}, "annotations": words, **more}


def lines(*names: str) -> list[tuple[str, str]]:
    return [(name, f"{name} is wrong.") for name in names]


PROMETHEUS_SAYS = {"data": {"alerts": [alert("Fires", state="firing"), alert("Soon", state="pending")]}}
CASES: dict[str, tuple[Scripted, Scripted, list[tuple[str, str]]]] = {
    "the critical one first": (
        Scripted(body=[alert("A"), alert("Z", "critical")]),
        Scripted(body=PROMETHEUS_SAYS),
        lines("Z", "A"),
    ),
    "none fires for Alertmanager": (Scripted(body=[]), Scripted(body=PROMETHEUS_SAYS), []),
    "without Alertmanager": (Scripted(status=502), Scripted(body=PROMETHEUS_SAYS), lines("Fires")),
    "neither": (Scripted(status=502), Scripted(status=502), []),
}


@pytest.mark.parametrize(("alertmanager", "prometheus", "expected"), CASES.values(), ids=CASES)
def test_alerts_that_fire(alertmanager: Scripted, prometheus: Scripted, expected: list[tuple[str, str]]) -> None:
    with scripted_server() as first, scripted_server() as second:
        first.answers, second.answers = [alertmanager], [prometheus]
        found = firing(f"{first.url}/api/v2/alerts", f"{second.url}/api/v1/alerts")
    assert [(each["name"], each["summary"]) for each in found] == expected
    assert json.dumps(found)


def test_a_host_without_alertmanager_has_no_alerts() -> None:
    assert firing("http://127.0.0.1:1/", "http://127.0.0.1:1/") == []


def test_the_ports_are_those_of_the_role() -> None:
    assert f":{ALERTMANAGER_PORT}/" in ALERTMANAGER
    assert f":{PROMETHEUS_PORT}/" in PROMETHEUS
