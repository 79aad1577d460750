"""How many requests an engine gets at the same time."""

from serving.spec.fields import ServingFields
from serving.spec.gateway_fields import GatewayFields


def engine_places(serving: ServingFields) -> int:
    """Return the requests that the engine computes at the same time. More of them wait in its own queue."""
    return serving.vllm.max_sequences if serving.engine == "vllm" else serving.ollama.num_parallel


def host_places(serving: ServingFields, gateway: GatewayFields) -> int:
    """Return the requests that the gateway gives each engine at the same time."""
    return gateway.max_concurrency or engine_places(serving)
