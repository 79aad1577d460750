"""Rules of clients, classes and overload in `gateway`. Each yields problems with the key to change."""

from collections.abc import Iterator, Mapping

from core.reading.rules import Problem, one_of, twice
from serving.spec.fields import ServingFields
from serving.spec.gateway_classes import LONGEST_ORDER_S
from serving.spec.gateway_clients import without_version
from serving.spec.gateway_fields import GatewayFields
from serving.spec.gateway_places import engine_places, host_places

WHOLE = 1.000001
"""Shares of thirds may add up to a little more than 1."""


def shares_add_up(gateway: GatewayFields) -> Iterator[Problem]:
    """No more than everything is shared out, and something is left for clients without a share."""
    given = [client.share for client in gateway.clients if client.share is not None]
    if sum(given) > WHOLE:
        yield Problem("clients", f"the shares add up to {sum(given):g}", "write shares that add up to 1 or less")
    elif len(given) < len(gateway.clients) and given and sum(given) >= 1:
        name = next(client.name for client in gateway.clients if client.share is None)
        yield Problem("clients", f"the shares leave nothing for {name}", "write smaller shares, or one for each client")


def limits_of_clients_fit(gateway: GatewayFields) -> Iterator[Problem]:
    """A client's limits let its largest request pass."""
    for index, client in enumerate(gateway.clients):
        key = f"clients[{index}]"
        yield from (Problem(f"{key}.{each.key}", each.what, each.hint) for each in twice(client.models, "models"))
        for name, caps in client.caps_by_key.items():
            if caps.prompt_kib is not None and caps.prompt_kib > gateway.max_body_kib:
                yield Problem(
                    f"{key}.{name}.prompt_kib",
                    f"{caps.prompt_kib} is above max_body_kib {gateway.max_body_kib}",
                    f"write at most {gateway.max_body_kib}",
                )
            held = client.caps_of(name.partition(".")[2])
            tokens, longest = client.tokens_per_minute, held.max_tokens
            if tokens is not None and longest is not None and longest * (held.n or 1) > tokens:
                yield Problem(
                    f"{key}.tokens_per_minute",
                    f"{tokens} is less than one request may take: {longest * (held.n or 1)}",
                    f"raise it, or lower {name}.max_tokens or {name}.n",
                )


def deadlines_fit(gateway: GatewayFields) -> Iterator[Problem]:
    """No class waits longer than the queue lets it, and HAProxy keeps the order."""
    for name in ("interactive", "batch"):
        given = getattr(gateway.classes, name).deadline_s
        if given is not None and given > gateway.queue_timeout_s:
            yield Problem(
                f"classes.{name}.deadline_s",
                f"{given} is longer than queue_timeout_s {gateway.queue_timeout_s}",
                f"write {gateway.queue_timeout_s} or less, or raise queue_timeout_s",
            )
    aging = gateway.classes.batch.aging_s
    if aging is not None and aging + gateway.queue_timeout_s > LONGEST_ORDER_S:
        yield Problem(
            "classes.batch.aging_s",
            f"{aging} and queue_timeout_s {gateway.queue_timeout_s} are together {aging + gateway.queue_timeout_s}",
            f"write values that add up to {LONGEST_ORDER_S} or less",
        )


def degrade_is_reached(gateway: GatewayFields) -> Iterator[Problem]:
    """Each model is degraded once, before its requests are refused."""
    yield from (
        Problem(f"{each.key}.model", each.what, each.hint)
        for each in twice((each.model for each in gateway.degrade), "degrade")
    )
    longest = max(gateway.deadlines_s.values())
    for index, each in enumerate(gateway.degrade):
        if each.above_wait_s >= longest:
            yield Problem(
                f"degrade[{index}].above_wait_s",
                f"{each.above_wait_s} is not reached: a request that would wait longer than {longest} s is refused",
                f"write less than {longest}",
            )


def degrade_ends(gateway: GatewayFields) -> Iterator[Problem]:
    """No model is answered by one that is answered by it."""
    becomes = {each.model: each.to for each in gateway.degrade if each.to is not None}
    for index, each in enumerate(gateway.degrade):
        way = [each.model]
        while (following := becomes.get(way[-1])) is not None and following not in way:
            way.append(following)
        if following == each.model:
            what = f"leads back to {each.model}: {' → '.join([*way, each.model])}"
            yield Problem(f"degrade[{index}].to", what, "leave one of them out")


CLIENT_RULES = (shares_add_up, limits_of_clients_fit, deadlines_fit, degrade_is_reached, degrade_ends)


def places_fit(serving: ServingFields, gateway: GatewayFields, of: str = "serving") -> Iterator[Problem]:
    """The engine's own queue stays empty, so that the gateway's order counts. `of`: the key of `serving`."""
    places, asked = engine_places(serving), gateway.max_concurrency
    if asked is not None and asked > places:
        key = "vllm.max_sequences" if serving.engine == "vllm" else "ollama.num_parallel"
        yield Problem(
            "gateway.max_concurrency",
            f"{asked} is above {of}.{key} {places}",
            f"leave it out, or write at most {places}, or raise {key.partition('.')[2]}",
        )


def room_is_there(servings: Mapping[str, ServingFields], gateway: GatewayFields) -> Iterator[Problem]:
    """No client may have more requests than there is room for."""
    room = sum(host_places(serving, gateway) + gateway.max_queue for serving in servings.values())
    for index, client in enumerate(gateway.clients):
        if client.max_concurrency is not None and client.max_concurrency > room and gateway.max_queue:
            yield Problem(
                f"gateway.clients[{index}].max_concurrency",
                f"{client.max_concurrency} is above the {room} places of max_concurrency and max_queue",
                f"write at most {room}, or leave it out",
            )


def names_and_caps_fit(servings: Mapping[str, ServingFields], gateway: GatewayFields) -> Iterator[Problem]:
    """Names are served, and caps are within what one of the engines does. Keys begin with `gateway`.

    If the stack file lists no adapters, a manifest may.
    """
    pool_of = {name: key for key, serving in servings.items() for name in _spellings(serving)}
    names, complete = list(pool_of), all(serving.adapters for serving in servings.values())
    for index, client in enumerate(gateway.clients):
        for number, name in enumerate(client.models):
            if complete and name not in names:
                yield Problem(
                    f"gateway.clients[{index}].models[{number}]", f"{name} is not served", one_of(names, name)
                )
        allowed = list(dict.fromkeys(map(without_version, client.models or names)))
        for name in client.model_caps:
            if name not in allowed and (complete or client.models):
                what = f"{name} is not among models" if client.models else f"{name} is not served"
                yield Problem(f"gateway.clients[{index}].model_caps.{name}", what, one_of(allowed, name))
    yield from _caps_fit(servings, gateway)
    for index, each in enumerate(gateway.degrade):
        key = f"gateway.degrade[{index}]"
        named = {"model": each.model, **({} if each.to is None else {"to": each.to})}
        unknown = [field for field, name in named.items() if complete and name not in names]
        for field in unknown:
            yield Problem(f"{key}.{field}", f"{named[field]} is not served", one_of(names, named[field]))
        if unknown:
            continue
        # A name that only a manifest may have is an adapter of vLLM.
        pools = [pool_of[name] for name in named.values() if name in pool_of]
        if any(servings[of].engine != "vllm" for of in pools):
            yield Problem(key, "works with engine vllm only", "leave it out")
            continue
        of = next(iter(pools), next(iter(servings)))
        context = servings[of].model.context_tokens
        if each.max_tokens is not None and each.max_tokens > context:
            what = f"{each.max_tokens} is above {of}.model.context_tokens {context}, so no answer is shorter"
            yield Problem(f"{key}.max_tokens", what, "write less")


def _spellings(serving: ServingFields) -> Iterator[str]:
    """Yield the names that clients may write."""
    for name in serving.served_names:
        yield from (name, name.removesuffix(":latest"))


def _caps_fit(servings: Mapping[str, ServingFields], gateway: GatewayFields) -> Iterator[Problem]:
    for index, client in enumerate(gateway.clients):
        for name, caps in client.caps_by_key.items():
            key, model = f"gateway.clients[{index}].{name}", name.partition(".")[2]
            # Caps of one model must fit its pool; those of all must fit one of the pools.
            fits = {of: each for of, each in servings.items() if model in map(without_version, each.served_names)}
            of, serving = max((fits or servings).items(), key=lambda each: each[1].model.context_tokens)
            context = serving.model.context_tokens
            answers = max(each.vllm.max_answers for each in (fits or servings).values())
            if caps.max_tokens is not None and caps.max_tokens > context:
                what = f"{caps.max_tokens} is above {of}.model.context_tokens {context}"
                yield Problem(f"{key}.max_tokens", what, f"write at most {context}")
            all_vllm = all(each.engine == "vllm" for each in (fits or servings).values())
            if all_vllm and caps.n is not None and caps.n > answers:
                what = f"{caps.n} is above serving.vllm.max_answers {answers}"
                yield Problem(f"{key}.n", what, f"write at most {answers}, or raise max_answers")
