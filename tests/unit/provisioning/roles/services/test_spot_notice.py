"""Which hosts ask for spot notices, and with which settings."""

from pathlib import Path
from typing import Any

import pytest

from provisioning.converge.resources import File
from provisioning.roles.services.role import services
from provisioning.roles.services.spot_notice import SETTINGS
from services.spot_notice.settings import Settings
from tests.unit.provisioning.records import host_values, stack

L4 = {"model": "L4", "count": 1, "vram_gib": 22.0}
WITH = {
    "AWS": ({"cloud": "aws", "market": "spot"}, {"cloud": "aws", "gpu": False, "drain_on_rebalance": False}),
    "early": ({"cloud": "aws", "market": "spot", "drain_on_rebalance": True}, {"drain_on_rebalance": True}),
    "GCP": ({"cloud": "gcp", "market": "spot", "gpu": L4}, {"cloud": "gcp", "gpu": True}),
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
