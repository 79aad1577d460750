"""What GCP offers in each place, from its REST: regions with quotas, zones, machine types, accelerators, images."""

import re
from typing import Any

from tests.doubles.gcp import seed
from tests.doubles.gcp.refusal import missing
from tests.doubles.gcp.rules.quotas import in_use
from tests.doubles.gcp.settings import Settings
from tests.doubles.gcp.store import Store

NAMED = re.compile(r'name = "([^"]+)"')


class Places:
    """Handlers of requests that change nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def _settings(self) -> Settings:
        return self._store.settings

    def project(self, **_given: Any) -> Any:
        return {"name": seed.PROJECT, "quotas": self._quotas(None)}

    def region(self, *, name: str, **_given: Any) -> Any:
        if name not in seed.ZONES:
            raise missing(f"projects/{seed.PROJECT}/regions/{name}")
        return {"name": name, "status": "UP", "quotas": self._quotas(name)}

    def zones(self, **_given: Any) -> Any:
        base = f"https://www.googleapis.com/compute/v1/projects/{seed.PROJECT}/regions/"
        names = [(region, f"{region}-{letter}") for region, letters in seed.ZONES.items() for letter in letters]
        items = [
            {"name": name, "region": base + region, "status": "DOWN" if name in self._settings.zones_down else "UP"}
            for region, name in names
            if name not in self._settings.unlisted
        ]
        return {"items": items}

    def machine_types(self, *, params: dict[str, str], **_given: Any) -> Any:
        name = _wanted(params)
        zones = [zone for zone in seed.zones_of_type(name) if zone not in self._settings.unlisted]
        return {"items": {f"zones/{zone}": {"machineTypes": [{"name": name}]} for zone in zones}}

    def accelerator_types(self, *, params: dict[str, str], **_given: Any) -> Any:
        zones = seed.T4_ZONES if _wanted(params) == seed.T4 else ()
        return {"items": {f"zones/{zone}": {"acceleratorTypes": [{"name": seed.T4}]} for zone in zones}}

    def image_of_family(self, *, project: str, family: str, **_given: Any) -> Any:
        name = self._store.settings.newest.get(family) or seed.FAMILIES.get((project, family))
        if name is None:
            raise missing(f"projects/{project}/global/images/family/{family}")
        return {"name": name, "status": "READY", "family": family}

    def image(self, *, project: str, name: str, **_given: Any) -> Any:
        if name not in seed.IMAGES.get(project, ()):
            raise missing(f"projects/{project}/global/images/{name}")
        return {"name": name, "status": "READY"}

    def _quotas(self, region: str | None) -> list[dict[str, Any]]:
        """Return the quotas of a region, or of the project over all regions."""
        return [
            {"metric": metric, "limit": limit, "usage": in_use(self._store, metric, region)}
            for metric, limit in self._store.settings.quotas.items()
            if (metric in seed.GLOBAL_QUOTAS) == (region is None)
        ]


def _wanted(params: dict[str, str]) -> str:
    """Return the name that a list is filtered by; our commands never ask for all."""
    found = NAMED.fullmatch(params["filter"])
    assert found, params["filter"]
    return found[1]
