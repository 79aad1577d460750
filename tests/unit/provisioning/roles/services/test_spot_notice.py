"""Which hosts ask for spot notices, and with which settings."""

import json
from pathlib import Path
from typing import Any

import pytest

from provisioning.apply.desired_state import joined
from provisioning.converge.payload import payload_of
from provisioning.converge.resources import File
from provisioning.roles.services.role import services
from provisioning.roles.services.spot_notice import SETTINGS
from services.spot_notice.settings import Settings
from tests.unit.provisioning.records import host_values, stack

FOLDER = {"url": "s3://llm-prod/notices/llm-prod-1/", "region": "eu-west-1"}
L4 = {"model": "L4", "count": 1, "vram_gib": 22.0}
WITH = {
    "AWS": ({"cloud": "aws", "market": "spot"}, {"cloud": "aws", "gpu": False, "drain_on_rebalance": False}),
    "early": ({"cloud": "aws", "market": "spot", "drain_on_rebalance": True}, {"drain_on_rebalance": True}),
    "with a bucket": ({"cloud": "aws", "market": "spot", "notice_folder": FOLDER}, {"sends_records": True}),
    "GCP": ({"cloud": "gcp", "market": "spot", "gpu": L4}, {"cloud": "gcp", "gpu": True, "sends_records": False}),
}
WITHOUT = {
    "on demand": {"cloud": "aws"},
    "an older record": {"cloud": "gcp"},
    "own machine": {"cloud": "existing", "market": "spot"},
}


@pytest.mark.parametrize(("host", "expected"), WITH.values(), ids=WITH)
def test_the_service_reads_what_the_role_writes(host: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    outputs = stack(host_values(**host))
    resources = services(outputs.hosts[0], outputs)
    text = next(str(each.content) for each in resources if isinstance(each, File) and each.path == SETTINGS)
    (tmp_path / "settings").write_text(text)
    seen = Settings.read(f"{tmp_path}/settings")
    assert {name: getattr(seen, name) for name in expected} == expected


@pytest.mark.parametrize("host", WITHOUT.values(), ids=WITHOUT)
def test_other_hosts_have_no_such_service(host: dict[str, Any]) -> None:
    outputs = stack(host_values(**host))
    assert not [each.id for each in services(outputs.hosts[0], outputs) if "spot" in each.id]


def _files(**host: Any) -> dict[str, Any]:
    outputs = stack(host_values("gpu-1", cloud="aws", market="spot", **host))
    resources = joined(services(outputs.hosts[0], outputs), [])
    payload_of(resources, dry_run=True)  # no id twice, and none is referenced before it is listed
    return {each.path: each.content for each in resources if isinstance(each, File)}


def test_a_host_with_a_bucket_sends_its_records_there() -> None:
    files = _files(notice_folder=FOLDER)
    settings = json.loads(files["/etc/llm/notice-records.json"])
    assert settings["folder"] == "s3://llm-prod/notices/llm-prod-1/gpu-1/"
    assert "haproxy.service" in settings["journals"]["access.log"]
    assert {"vllm.service", "llm-engine-watch.service"} <= set(settings["journals"]["journal.log"])
    unit = files["/etc/systemd/system/llm-notice-records.service"]
    assert "User=llm-notice\n" in unit
    assert "Environment=AWS_REGION=eu-west-1\n" in unit


def test_a_host_without_a_bucket_loses_the_units() -> None:
    files = _files()
    assert files["/etc/systemd/system/llm-notice-records.path"] is None
    assert "/etc/llm/notice-records.json" not in files
