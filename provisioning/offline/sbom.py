"""The bill of materials of a bundle, as CycloneDX 1.6 in JSON: each component with its source and hashes."""

import json
from collections.abc import Sequence
from typing import Any

from provisioning.offline.parts import Component, Kind, Part

SPEC_VERSION = "1.6"

TYPES: dict[Kind, str] = {
    "debian": "library",
    "wheel": "library",
    "model": "machine-learning-model",
    "download": "file",
    "program": "application",
}


def sbom(stack: str, components: Sequence[Component]) -> str:
    """Return the document. The same content for the same components: no serial number, no time."""
    document = {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": "bundle", "name": f"llm-deploy bundle {stack}"}},
        "components": [_entry(component) for component in components],
        "dependencies": [{"ref": "bundle", "dependsOn": sorted(_ref(component) for component in components)}],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _entry(component: Component) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": TYPES[component.kind],
        "bom-ref": _ref(component),
        "name": component.name,
        "version": component.version,
    }
    if component.purl:
        entry["purl"] = component.purl.replace("+", "%2B")
    if component.licence:
        entry["licenses"] = [{"license": {"name": component.licence}}]
    if len(component.parts) == 1:
        entry["hashes"] = _hashes(component.parts[0])
    else:
        entry["components"] = [
            {"type": "file", "bom-ref": f"{_ref(component)}#{part.place}", "name": part.place, "hashes": _hashes(part)}
            for part in component.parts
        ]
    return entry


def _ref(component: Component) -> str:
    return f"{component.kind}:{component.name}@{component.version}"


def _hashes(part: Part) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": part.sha256}]
