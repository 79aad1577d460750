"""The bill of materials, checked with CycloneDX's own schema."""

import json
from pathlib import Path

from provisioning.offline.parts import Component, Kind, Part
from provisioning.offline.sbom import TYPES, sbom

SHA256 = "ab" * 32


def component(kind: Kind, name: str, *places: str, **reported: str) -> Component:
    parts = tuple(Part(place=place, source=Path("/x"), sha256=SHA256, size=1) for place in places)
    return Component(kind=kind, name=name, version="1:2.6+deb12u1", parts=parts, **reported)


COMPONENTS = [
    component("debian", "haproxy", "debs/haproxy.deb", purl="pkg:deb/debian/haproxy@1:2.6+deb12u1?arch=amd64"),
    component("wheel", "vllm", "wheels/vllm.whl", purl="pkg:pypi/vllm@0.30.0+cpu"),
    component("model", "/var/lib/llm/models/tiny", "blobs/a", "blobs/b", licence="apache-2.0"),
    component("download", "https://example.com/engine.tgz", "blobs/c"),
    component("program", "llm-deploy agent", "agent.pyz"),
]


def test_the_document_follows_the_schema() -> None:
    # Takes two seconds, which each worker would spend when it collects the tests.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert {each.kind for each in COMPONENTS} == set(TYPES)
    document = sbom("prod", COMPONENTS)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) is None


def test_every_component_has_its_version_and_hash() -> None:
    document = json.loads(sbom("prod", COMPONENTS))
    assert [each["name"] for each in document["components"]] == [each.name for each in COMPONENTS]
    haproxy, _, model, *_ = document["components"]
    assert haproxy["hashes"] == [{"alg": "SHA-256", "content": SHA256}]
    assert haproxy["purl"] == "pkg:deb/debian/haproxy@1:2.6%2Bdeb12u1?arch=amd64"
    assert [file["name"] for file in model["components"]] == ["blobs/a", "blobs/b"]
    assert model["licenses"] == [{"license": {"name": "apache-2.0"}}]
    assert "licenses" not in haproxy


def test_the_same_content_gives_the_same_document() -> None:
    assert sbom("prod", COMPONENTS) == sbom("prod", COMPONENTS)
