"""The Prometheus of a machine: quicker for tests, and its answers."""

import json
from functools import partial

import pytest

from infra.contract.outputs import HostRecord
from provisioning.roles.monitoring import role
from provisioning.roles.monitoring.configs import prometheus_config
from tests.machine.converge_host import remote


def read_each_second(patch: pytest.MonkeyPatch) -> None:
    """Let each Prometheus that is installed from now on read its targets each second, not each 15."""
    patch.setattr(role, "prometheus_config", partial(prometheus_config, scrape_s=1))


def query(host: HostRecord, expression: str) -> dict[tuple[str, ...], str]:
    """Return the value of each series in Prometheus's answer, by the values of its labels in the order of their names.

    Empty while Prometheus does not answer.
    """
    asked = f"curl -sf --data-urlencode 'query={expression}' http://127.0.0.1:9090/api/v1/query || true"
    found = json.loads(remote(host, asked) or '{"data": {"result": []}}')["data"]["result"]
    return {tuple(value for _, value in sorted(each["metric"].items())): each["value"][1] for each in found}
