"""The access log: one line of JSON per request, without private data of a client."""

import json

from provisioning.roles.gateway.gateway import LOG_FIELDS
from tests.doubles.engine import ENGINE_KEY, EngineDouble
from tests.gateways import CLIENT_KEY, SECOND_KEY, wait_for
from tests.unit.provisioning.conftest import NewGateway

SECRET_PROMPT = "the-content-of-a-prompt"
SECRET_QUERY = "the-content-of-a-query"


def test_line_has_client_request_and_result(new_gateway: NewGateway) -> None:
    gateway = new_gateway()
    body = json.dumps({"model": "tiny", "prompt": "hello"}).encode()
    gateway.ask("POST", "/v1/completions", "X-Request-Id: one", key=SECOND_KEY, body=body)
    line = gateway.logged("one")
    assert set(line) == set(LOG_FIELDS)
    expected = {
        "client": "second",
        "address": "127.0.0.1",
        "method": "POST",
        "path": "/v1/completions",
        "status": 200,
        "queued_before": 0,
        "ended": "--",
        "tls": "TLSv1.3",
    }
    assert {name: line[name] for name in expected} == expected
    assert line["time"].endswith("Z")
    assert line["request_bytes"] > len(body)
    assert line["response_bytes"] > 0
    assert 0 <= line["first_byte_ms"] <= line["total_ms"]


def test_refused_request_is_logged_without_a_client(new_gateway: NewGateway) -> None:
    gateway = new_gateway()
    gateway.ask("GET", "/v1/models", "X-Request-Id: refused", key="sk-wrong")
    line = gateway.logged("refused")
    assert (line["client"], line["status"], line["queue_ms"]) == ("-", 401, -1)


def test_log_holds_no_key_body_answer_or_query(new_gateway: NewGateway, engine: EngineDouble) -> None:
    gateway = new_gateway()
    engine.models = ("tiny",)
    body = json.dumps({"model": "tiny", "prompt": SECRET_PROMPT}).encode()
    wrong = "sk-" + "wrong" * 8
    gateway.ask("POST", f"/v1/completions?q={SECRET_QUERY}", "X-Request-Id: a", body=body)
    gateway.ask("POST", f"/v1/completions?q={SECRET_QUERY}", "X-Request-Id: b", key=wrong, body=body)
    gateway.ask("GET", f"/v1/{CLIENT_KEY}/x?q={SECRET_QUERY}", "X-Request-Id: c", f"Cookie: {SECRET_QUERY}")
    gateway.ask("GET", f"/{SECOND_KEY},{wrong}", "X-Request-Id: d", f"User-Agent: {SECRET_QUERY}")
    gateway.exchange(f"GET /v1/x {CLIENT_KEY} HTTP/1.1\r\nbroken\r\n\r\n".encode())
    for request_id in "abcd":
        gateway.logged(request_id)
    log = gateway.log()
    for secret in (SECRET_PROMPT, SECRET_QUERY, CLIENT_KEY, SECOND_KEY, wrong, ENGINE_KEY, "one two"):
        assert secret not in log
    assert gateway.logged("c")["path"] == "/v1/sk-***/x"


def test_every_line_is_json_whatever_a_client_sends(new_gateway: NewGateway) -> None:
    gateway = new_gateway()
    odd = ['/"quoted"', "/back\\slash", "/{}", "/%22%0a", "/" + "a" * 5000, '/"},{"status":200']
    for index, target in enumerate(odd):
        gateway.ask("GET", target, f"X-Request-Id: odd-{index}")
    gateway.ask('G"T', "/", "X-Request-Id: odd-method")
    gateway.ask("GET", "/\xff\xfe")
    gateway.exchange(b"nonsense\r\n\r\n")
    wait_for(lambda: len(gateway.log_lines()) >= len(odd) + 3, "a line for each request")
    for index, _ in enumerate(odd):
        line = gateway.logged(f"odd-{index}")
        assert line["status"] == 404
        assert len(line["path"]) <= 200
    assert len([line for line in gateway.log().splitlines() if line.startswith("<6>")]) == len(gateway.log_lines())


def test_engines_state_is_logged_in_words_and_never_as_an_emergency(
    new_gateway: NewGateway, engine: EngineDouble
) -> None:
    """HAProxy calls `no server left` an emergency; journald writes those to every terminal."""
    gateway = new_gateway()
    engine.stop_listening()
    wait_for(lambda: gateway.engine_is("DOWN"), "HAProxy notices")
    wait_for(lambda: "backend main has no server available" in gateway.log(), "the line")
    assert "<3>backend main has no server available" in gateway.log()
    assert "<0>" not in gateway.log()
