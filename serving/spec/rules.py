"""Rules that join several fields of `serving` and `gateway`. Each yields problems with the key to change.

They use no network and do not know the machine. Rules about GPU and memory are in infra/config/rules/capacity.py.
"""

from collections.abc import Iterator, Mapping

from core.ports import (
    AGENT_PORT,
    DOOR_PORT,
    GRAFANA_PORT,
    MONITORING_PORTS,
    OVERFLOW_METRICS_PORT,
    OVERFLOW_PORT,
    SSH_PORT,
    WATCH_METRICS_PORT,
)
from core.reading.rules import Problem, one_of
from serving.spec.fields import AdapterSpec, ServingFields
from serving.spec.gateway_fields import GatewayFields
from serving.spec.gateway_overflow import overflow_fits_gateway, overflow_fits_models
from serving.spec.gateway_rules import CLIENT_RULES, names_and_caps_fit, places_fit, room_is_there
from serving.spec.licences import licence_accepted, licence_has_one_name
from serving.spec.ollama_rules import OLLAMA_RULES
from serving.spec.vllm_options import REASONING_PARSERS, TOOL_CALL_PARSERS, extra_arguments
from tools.tiny_model import CONTEXT_TOKENS as TINY_CONTEXT_TOKENS
from tools.tiny_model import LORA_RANK as TINY_RANK

METRICS_PORT = 8405
"""Port of the gateway's metrics, on the loopback of its host."""


def names_differ(spec: ServingFields) -> Iterator[Problem]:
    """A name means one model, and a versioned name one version."""
    seen: dict[str, str] = {}
    for index, adapter in enumerate(spec.adapters):
        key = f"adapters[{index}].name"
        if adapter.name == spec.model.name:
            yield Problem(key, f"{adapter.name} is already the name in model.name", "give it another name")
        elif adapter.versioned_name in seen:
            yield Problem(
                key,
                f"{adapter.versioned_name} is already the name in {seen[adapter.versioned_name]}",
                "give it another name or version",
            )
        seen.setdefault(adapter.versioned_name, key)


def aliases_are_clear(spec: ServingFields) -> Iterator[Problem]:
    """Exactly one version of each name is promoted."""
    for name in dict.fromkeys(adapter.name for adapter in spec.adapters):
        versions = [(index, each) for index, each in enumerate(spec.adapters) if each.name == name]
        promoted = list(dict.fromkeys(f"{name}@{each.version}" for _, each in versions if each.promoted))
        key = f"adapters[{versions[-1][0]}].promoted"
        if not promoted:
            yield Problem(key, f"no version of {name} is promoted", "write true for one of them")
        elif len(promoted) > 1:
            yield Problem(key, f"{' and '.join(promoted)} are both promoted", "write false for all but one")


def ranks_fit(spec: ServingFields) -> Iterator[Problem]:
    """No adapter has a larger rank than vLLM allocates."""
    limit = spec.vllm.max_lora_rank
    for index, adapter in enumerate(spec.adapters if spec.engine == "vllm" else ()):
        if adapter.rank > limit:
            yield Problem(
                f"adapters[{index}].rank",
                f"{adapter.rank} is above vllm.max_lora_rank {limit}",
                "raise max_lora_rank or use a smaller adapter",
            )


def base_is_no_adapter(spec: ServingFields) -> Iterator[Problem]:
    """The base model is not an adapter."""
    if spec.model.source.kind == "tiny" and spec.model.source.adapter is not None:
        yield Problem("model.source.adapter", "is for adapters, not for the base model", "leave it out")


def adapters_fit_base(spec: ServingFields) -> Iterator[Problem]:
    """The adapters were trained on the base model, as far as the sources show."""
    base = spec.model.source
    for index, adapter in enumerate(spec.adapters):
        key, source = f"adapters[{index}].source", adapter.source
        if source.kind == "tiny" and base.kind != "tiny":
            yield Problem(f"{key}.kind", f"tiny does not fit a base model of kind {base.kind}", "write hub or folder")
        elif source.kind == "tiny" and base.kind == "tiny":
            yield from _tiny_fits(adapter, base.name, f"adapters[{index}]")
        elif source.kind == "hub" and base.kind == "tiny":
            yield Problem(f"{key}.kind", "hub does not fit a base model of kind tiny", "write tiny or folder")
        elif source.kind == "hub" and base.kind == "hub" and source.repo == base.repo:
            yield Problem(f"{key}.repo", f"{source.repo} is the base model itself", "name the adapter's repository")


def _tiny_fits(adapter: AdapterSpec, base_shape: str, key: str) -> Iterator[Problem]:
    """A tiny adapter has the shape of the base model, and the rank with which it was generated."""
    source = adapter.source
    if source.kind != "tiny":
        return
    if source.adapter is None:
        yield Problem(f"{key}.source.adapter", "is missing", "write a or b")
    if adapter.rank != TINY_RANK:
        yield Problem(f"{key}.rank", f"{adapter.rank} is not the rank of a tiny adapter", f"write {TINY_RANK}")
    if source.name != base_shape:
        yield Problem(
            f"{key}.source.name", f"{source.name} does not fit the base model's {base_shape}", f"write {base_shape}"
        )


def options_fit_engine(spec: ServingFields) -> Iterator[Problem]:
    """Options of one engine are not set for the other.

    A section with defaults alone passes, because outputs in JSON contain every field.
    """
    other = "ollama" if spec.engine == "vllm" else "vllm"
    if getattr(spec, other) != type(spec).model_fields[other].default:
        yield Problem(other, f"is not used by engine {spec.engine}", f"leave it out, or write engine: {other}")
    if spec.engine == "ollama":
        for field, usual in (("dtype", "auto"), ("quantization", None), ("trust_remote_code", False)):
            if getattr(spec.model, field) != usual:
                yield Problem(
                    f"model.{field}", "cannot be set for engine ollama", "leave it out, or write engine: vllm"
                )


def quantization_fits_dtype(spec: ServingFields) -> Iterator[Problem]:
    """Quantised weights need a 16-bit type."""
    if spec.model.quantization and spec.model.dtype == "float32":
        yield Problem("model.dtype", f"float32 does not work with {spec.model.quantization}", "write auto or float16")


def vllm_options_are_known(spec: ServingFields) -> Iterator[Problem]:
    """The pinned release has the parsers, and the extra options give no access to the engine."""
    for field, known in (("tool_call_parser", TOOL_CALL_PARSERS), ("reasoning_parser", REASONING_PARSERS)):
        value = getattr(spec.vllm, field)
        if value is not None and value not in known:
            yield Problem(f"vllm.{field}", f"{value} is not a parser of vLLM 0.32", one_of(known, value))
    yield from extra_arguments(spec.vllm.extra_args)


def memory_fits_cache(spec: ServingFields) -> Iterator[Problem]:
    """The memory limit of the unit is larger than the KV cache."""
    limit = spec.vllm.memory_max_gib
    if spec.engine == "vllm" and limit is not None and limit <= spec.vllm.kv_cache_gib:
        yield Problem(
            "vllm.memory_max_gib",
            f"{limit:g} GiB does not hold a KV cache of {spec.vllm.kv_cache_gib:g} GiB",
            "raise it or leave it out",
        )


def tiny_context_fits(spec: ServingFields) -> Iterator[Problem]:
    """The context fits into the positions of a tiny model."""
    if spec.model.source.kind == "tiny" and spec.model.context_tokens > TINY_CONTEXT_TOKENS:
        yield Problem(
            "model.context_tokens",
            f"{spec.model.context_tokens} is too much for a tiny model",
            f"write at most {TINY_CONTEXT_TOKENS}",
        )


SERVING_RULES = (
    names_differ,
    aliases_are_clear,
    ranks_fit,
    base_is_no_adapter,
    adapters_fit_base,
    options_fit_engine,
    *OLLAMA_RULES,
    quantization_fits_dtype,
    vllm_options_are_known,
    memory_fits_cache,
    tiny_context_fits,
    licence_accepted,
    licence_has_one_name,
)


def gateway_port_is_free(gateway: GatewayFields) -> Iterator[Problem]:
    """The gateway does not use the SSH port."""
    if gateway.port == SSH_PORT:
        yield Problem("port", f"{SSH_PORT} is the SSH port", "write 443 or another port")


def waits_end_in_order(gateway: GatewayFields) -> Iterator[Problem]:
    """A request does not wait longer in the queue than an answer may pause."""
    if gateway.queue_timeout_s > gateway.request_timeout_s:
        yield Problem(
            "queue_timeout_s",
            f"{gateway.queue_timeout_s} is longer than request_timeout_s {gateway.request_timeout_s}",
            f"write {gateway.request_timeout_s} or less",
        )


def files_differ(gateway: GatewayFields) -> Iterator[Problem]:
    """Certificate and key are different files."""
    if gateway.tls.kind == "files" and gateway.tls.certificate == gateway.tls.key:
        yield Problem("tls.key", "is the same file as tls.certificate", "write a file with the private key alone")


def overflow_may_happen(gateway: GatewayFields) -> Iterator[Problem]:
    """Providers get what a client may send out, and end before the gateway does."""
    return overflow_fits_gateway(gateway.overflow, gateway.clients, gateway.request_timeout_s)


def alerts_have_a_source(gateway: GatewayFields) -> Iterator[Problem]:
    """Alerts come from the monitoring."""
    if gateway.alerts is not None and gateway.monitoring is None:
        yield Problem("alerts", "cannot fire without monitoring", "write monitoring: {} beside it")


def first_token_fits_wait(gateway: GatewayFields) -> Iterator[Problem]:
    """The threshold of an alert is a time that a request can reach."""
    longest = gateway.queue_timeout_s + gateway.request_timeout_s
    if gateway.monitoring is not None and gateway.monitoring.first_token_p95_s > longest:
        yield Problem(
            "monitoring.first_token_p95_s",
            f"{gateway.monitoring.first_token_p95_s:g} is longer than queue_timeout_s and request_timeout_s together",
            f"write at most {longest}",
        )


GATEWAY_RULES = (
    gateway_port_is_free,
    waits_end_in_order,
    files_differ,
    overflow_may_happen,
    *CLIENT_RULES,
    alerts_have_a_source,
    first_token_fits_wait,
)


def gateway_fits_servings(servings: Mapping[str, ServingFields], gateway: GatewayFields) -> Iterator[Problem]:
    """Apply the rules that join `gateway` with what the pools serve.

    `servings` has what each pool serves by its key: `serving`, `pools.NAME.serving`. Keys begin with one of them or
    with `gateway`.
    """
    found = [
        problem
        for key, serving in servings.items()
        for problem in (*ports_differ(serving, gateway, key), *places_fit(serving, gateway, key))
    ]
    yield from dict.fromkeys(found)
    yield from overflow_fits_models(gateway.overflow, tuple(servings.values()))
    yield from room_is_there(servings, gateway)
    yield from names_and_caps_fit(servings, gateway)
    yield from names_mean_one_pool(servings)


def names_mean_one_pool(servings: Mapping[str, ServingFields]) -> Iterator[Problem]:
    """A name chooses the pool, so no two pools serve the same."""
    seen: dict[str, str] = {}
    for key, serving in servings.items():
        models = {f"{key}.model.name": serving.model.name}
        models |= {f"{key}.adapters[{index}].name": each.name for index, each in enumerate(serving.adapters)}
        for where, name in models.items():
            other = seen.setdefault(name, key)
            if other != key:
                yield Problem(where, f"{name} is also a name in {other}", "give it another name")


def door_ports_differ(serving: ServingFields, key: str = "serving") -> Iterator[Problem]:
    """The engine of a host behind a gateway's leaves it the port that the gateway's host connects to."""
    if serving.port == DOOR_PORT:
        what = f"{serving.port} is the port that the gateway's host connects to"
        yield Problem(f"{key}.{serving.engine}.port", what, "write another port")


def ports_differ(serving: ServingFields, gateway: GatewayFields, of: str = "serving") -> Iterator[Problem]:
    """Gateway, engine and what runs beside them listen on different ports. Keys begin with `of` or `gateway`."""
    if gateway.port == serving.port:
        yield Problem(
            "gateway.port", f"{gateway.port} is also the engine's port", "write 443, or give the engine another port"
        )
    taken = {METRICS_PORT: "the port of the gateway's metrics"}
    taken |= dict.fromkeys((AGENT_PORT, WATCH_METRICS_PORT), "a port of the engine's watcher")
    if gateway.overflow is not None:
        taken |= dict.fromkeys((OVERFLOW_PORT, OVERFLOW_METRICS_PORT), "a port of the overflow service")
    if gateway.monitoring is not None:
        taken |= dict.fromkeys(MONITORING_PORTS, "a port of the monitoring")
    if gateway.grafana is not None:
        taken[GRAFANA_PORT] = "Grafana's port"
    for key, port in (("gateway.port", gateway.port), (f"{of}.{serving.engine}.port", serving.port)):
        if port in taken:
            yield Problem(key, f"{port} is {taken[port]}", "write another port")
