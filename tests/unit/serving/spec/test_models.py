"""The serving spec as a value. Its errors are in tests/unit/infra/config/cases/serving.yaml."""

import json
from typing import Any

import pytest

from serving.spec.gateway_places import host_places
from serving.spec.models import GatewaySpec, ServingSpec

TINY = {"kind": "tiny", "name": "llama"}
BY_ENGINE: dict[str, dict[str, Any]] = {
    "vllm": {
        "model": {"name": "base", "source": TINY},
        "adapters": [{"name": "contract", "version": 3, "source": {**TINY, "adapter": "a"}, "rank": 8}],
    },
    "ollama": {"engine": "ollama", "model": {"name": "base", "source": TINY}, "ollama": {"port": 12000}},
}


@pytest.mark.parametrize("value", BY_ENGINE.values(), ids=BY_ENGINE)
@pytest.mark.parametrize("exclude_unset", [True, False])
def test_a_spec_survives_json(value: dict[str, Any], exclude_unset: bool) -> None:
    """Outputs contain it. A section with the other engine's defaults must not be refused."""
    spec = ServingSpec.model_validate(value)
    assert ServingSpec.model_validate_json(spec.model_dump_json(exclude_unset=exclude_unset)) == spec


def test_the_gateway_survives_json() -> None:
    """Tuples come back as tuples. A client's name alone is a client."""
    gateway = GatewaySpec.model_validate({"hostnames": ["llm.example.com"], "clients": ["a", {"name": "b"}]})
    assert gateway.client_names == ("a", "b")
    assert GatewaySpec.model_validate_json(gateway.model_dump_json()) == gateway


@pytest.mark.parametrize("exclude_unset", [True, False])
def test_the_class_of_a_client_is_written_as_in_the_file(exclude_unset: bool) -> None:
    """`class` is a keyword of Python, so the field has another name."""
    gateway = GatewaySpec.model_validate({"clients": [{"name": "a", "class": "batch"}]})
    assert gateway.clients[0].service_class == "batch"
    written = gateway.model_dump_json(exclude_unset=exclude_unset)
    assert json.loads(written)["clients"][0]["class"] == "batch"
    assert GatewaySpec.model_validate_json(written) == gateway


PLACES = {
    "vLLM": ({"vllm": {"max_sequences": 12}}, {}, 12),
    "vLLM with less": ({"vllm": {"max_sequences": 12}}, {"max_concurrency": 5}, 5),
    "Ollama": ({"engine": "ollama", "ollama": {"num_parallel": 3}}, {}, 3),
    "Ollama with less": ({"engine": "ollama", "ollama": {"num_parallel": 3}}, {"max_concurrency": 2}, 2),
}


@pytest.mark.parametrize(("serving", "gateway", "places"), PLACES.values(), ids=PLACES)
def test_an_engine_gets_as_many_requests_as_it_computes(
    serving: dict[str, Any], gateway: dict[str, Any], places: int
) -> None:
    spec = ServingSpec.model_validate({"model": {"name": "base", "source": TINY}, **serving})
    assert host_places(spec, GatewaySpec.model_validate(gateway)) == places


def test_names_and_port_follow_from_the_spec() -> None:
    """Alias and immutable name of each adapter; the port of the engine that runs."""
    spec = ServingSpec.model_validate(BY_ENGINE["vllm"])
    assert spec.served_names == ("base", "contract", "contract@3")
    assert spec.port == 8000
    assert ServingSpec.model_validate(BY_ENGINE["ollama"]).port == 12000
