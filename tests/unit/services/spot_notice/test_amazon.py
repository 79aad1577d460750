"""What AWS's metadata service may answer, over a real socket."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from services.spot_notice.amazon import ACTION, REBALANCE, TOKEN, Amazon
from services.spot_notice.finding import Finding, Seen
from tests.doubles.running import running

NOW = 1_800_000_000.0
END = "2027-01-15T08:02:00Z"
DEADLINE = 1_800_000_120.0


@dataclass
class Service:
    """A metadata service; a test changes its answers."""

    url: str = ""
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=lambda: ["first"])
    """Tokens that it gives one after the other; those given earlier end."""
    refuses: int = 0
    """Status for who asks for a token; 0: it gives one."""
    asked: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            made.asked.append(("PUT", self.path))
            assert int(self.headers["X-aws-ec2-metadata-token-ttl-seconds"]) > 0
            if len(made.tokens) > 1:
                made.tokens.pop(0)
            self._say(made.refuses or 200, "" if made.refuses else made.tokens[0])

        def do_GET(self) -> None:
            made.asked.append(("GET", self.path))
            valid = self.headers.get("X-aws-ec2-metadata-token") == made.tokens[0]
            self._say(*(made.answers.get(self.path, (404, "")) if valid else (401, "")))

        def _say(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            if status == 302:
                self.send_header("Location", f"{made.url}/elsewhere")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    with running(server):
        yield made


def look(service: Service) -> Seen:
    return Amazon(service.url, lambda: NOW).look()


def ending(kind: str, deadline: float | None) -> Finding:
    return Finding(kind, "aws", NOW, deadline)


TERMINATE = json.dumps({"action": "terminate", "time": END})
CASES: dict[str, tuple[dict[str, tuple[int, str]], Seen]] = {
    "no notice": ({}, Seen()),
    "terminate": ({ACTION: (200, TERMINATE)}, Seen((ending("terminate", DEADLINE),))),
    "stop": ({ACTION: (200, TERMINATE.replace("terminate", "stop"))}, Seen((ending("stop", DEADLINE),))),
    "rebalance": ({REBALANCE: (200, "{}")}, Seen((Finding("rebalance", "aws", NOW, advice=True),))),
    "no JSON": ({ACTION: (200, "soon")}, Seen((ending("unreadable notice", None),))),
    "another shape": ({ACTION: (200, "[1]")}, Seen((ending("unreadable notice", None),))),
    "another time": ({ACTION: (200, '{"action": "stop", "time": "soon"}')}, Seen((ending("unreadable notice", None),))),
    "a broken service": ({ACTION: (500, "")}, Seen(problem="the metadata service answers 500")),
    "it sends elsewhere": ({ACTION: (302, "")}, Seen(problem="the metadata service answers 302")),
    "one answer fails, the other tells": (
        {ACTION: (200, TERMINATE), REBALANCE: (503, "")},
        Seen((ending("terminate", DEADLINE),), "the metadata service answers 503"),
    ),
}


@pytest.mark.parametrize(("answers", "expected"), CASES.values(), ids=CASES)
def test_answers(service: Service, answers: dict[str, tuple[int, str]], expected: Seen) -> None:
    service.answers = answers
    assert look(service) == expected
    assert not [path for _, path in service.asked if path == "/elsewhere"]


@pytest.mark.parametrize("status", [403, 404, 400])
def test_without_a_token_nothing_is_asked(service: Service, status: int) -> None:
    """Version 1 would answer without a token; who can make us ask it can read more than a notice."""
    service.refuses, service.answers = status, {ACTION: (200, TERMINATE)}
    assert look(service) == Seen(problem=f"the metadata service refuses a token: {status}")
    assert {method for method, _ in service.asked} == {"PUT"}


def test_a_token_is_used_until_it_ends(service: Service) -> None:
    amazon = Amazon(service.url, lambda: NOW)
    for _ in range(3):
        assert amazon.look() == Seen()
    assert service.asked.count(("PUT", TOKEN)) == 1
    service.tokens = ["ended", "second"]
    assert amazon.look() == Seen()
    assert service.asked.count(("PUT", TOKEN)) == 2


def test_a_token_is_renewed_in_time(service: Service) -> None:
    times = [NOW]
    amazon = Amazon(service.url, lambda: times[0])
    amazon.look()
    times[0] += 6 * 3600
    amazon.look()
    assert service.asked.count(("PUT", TOKEN)) == 2


def test_a_silent_service_is_a_problem_and_not_a_notice() -> None:
    assert "refused" in Amazon("http://127.0.0.1:1", lambda: NOW).look().problem


def test_a_notice_keeps_the_time_when_it_came(service: Service) -> None:
    times = [NOW]
    amazon = Amazon(service.url, lambda: times[0])
    service.answers = {ACTION: (200, TERMINATE)}
    first = amazon.look()
    times[0] += 5
    assert amazon.look() == first
