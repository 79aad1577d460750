"""How many requests an engine gets at the same time."""

from serving.spec.fields import ServingFields
from serving.spec.gateway_fields import GatewayFields


def engine_places(serving: ServingFields) -> int:
    """Return the requests that the engine computes at the same time. More of them wait in its own queue."""
    return serving.vllm.max_sequences if serving.engine == "vllm" else serving.ollama.num_parallel


def host_places(serving: ServingFields, gateway: GatewayFields) -> int:
    """Return the requests that the gateway gives each engine at the same time.

    A larger `max_concurrency` than the engine has places is refused by a rule of its own, so no other rule counts it.
    """
    places = engine_places(serving)
    return min(gateway.max_concurrency or places, places)
