"""Reports of hosts as programs/host/top_report.py prints them."""

from typing import Any

from provisioning.operate.top.values import Seen

UNANSWERED = {"first_byte_ms": -1, "first_token_ms": -1}


def request(**changed: Any) -> dict[str, Any]:
    """Return a line of the access log."""
    values = {"class": "interactive", "model": "qwen", "adapter": "-", "decision": "served", "reason": "-"}
    return {**values, "status": 200, "queue_ms": 100, "first_byte_ms": 0, "first_token_ms": 400, **changed}


def refused(reason: str) -> dict[str, Any]:
    """Return the line of a request that the gateway refused."""
    return request(status=429, decision="refused", reason=reason, queue_ms=-1, **UNANSWERED)


def server(name: str, state: str = "UP", running: int = 0, places: int = 8) -> dict[str, Any]:
    """Return HAProxy's view of a host."""
    return {"pool": "main", "name": name, "state": state, "running": running, "places": places}


def engine(answer_tokens: float, **changed: Any) -> dict[str, Any]:
    """Return the counters of an engine."""
    values = {"running": 1, "waiting": 0, "prompt_tokens": 10 * answer_tokens, "answer_tokens": answer_tokens}
    return {**values, "cache": 0.42, "adapters": ["contract@3"], **changed}


def report(**changed: Any) -> dict[str, Any]:
    """Return the report of a host without gateway and engine."""
    return {
        "gateway": None,
        "waiting": None,
        "requests": None,
        "engine": None,
        "overflow": None,
        "monotonic": 0,
        "unseen": {},
        **changed,
    }


def gateway(*servers: dict[str, Any], waiting: int = 0, requests: Any = (), **changed: Any) -> dict[str, Any]:
    """Return the report of a gateway's host."""
    state = {"servers": list(servers), "waiting": {"main": waiting}}
    by_class = [{"pool": "main", "class": "interactive", "requests": waiting}]
    return report(**{"gateway": state, "waiting": by_class, "requests": list(requests), **changed})


def pool() -> list[Seen]:
    """Return a gateway machine and two engines, one of which does not answer."""
    requests = (
        [request()] * 19
        + [request(queue_ms=6000, first_token_ms=6300)]
        + [refused("queue_full")] * 2
        + [request(status=502)]
    )
    overflow = {
        "spent_usd": [{"provider": "together", "period": "day", "value": 4.2}],
        "cap_usd": [{"provider": "together", "period": "day", "value": 5.0}],
    }
    servers = (server("pool-1", running=7), server("pool-2", "DOWN"))
    return [
        Seen(host="pool-gateway", latest=gateway(*servers, waiting=3, requests=requests, overflow=overflow)),
        Seen(
            host="pool-1",
            latest=report(engine=engine(300), monotonic=12.0),
            before=report(engine=engine(54), monotonic=10.0),
        ),
        Seen(host="pool-2", latest=report(engine=engine(9)), error="no answer for 14 s", silent_s=14),
    ]
