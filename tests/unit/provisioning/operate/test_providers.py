"""A provider that never works is visible: from a real overflow service to the screens, and after a provision."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import HostError
from provisioning.apply import provider_names
from provisioning.apply.provider_names import mention_unknown_names
from provisioning.operate import status as status_module
from provisioning.operate.provider_tries import read_tries
from provisioning.operate.status_screen import screen
from provisioning.operate.top.values import Seen
from provisioning.programs.gateway import provider_report, spend_report
from provisioning.programs.host import top_report
from serving.spec.models import GatewaySpec
from tests.doubles.llm_provider import running_provider
from tests.overflows import overflow_spec, provider_at, running_overflow
from tests.unit.provisioning.operate.test_status import report
from tests.unit.provisioning.operate.top.reports import gateway, server
from tests.unit.provisioning.operate.top.test_screen import drawn
from tests.unit.provisioning.records import host_values, stack

NAME = "llm.example.invalid"
GATEWAY = GatewaySpec.model_validate({"clients": [{"name": "default", "data": "public"}], "overflow": overflow_spec()})


def test_a_provider_that_never_answers_is_marked_until_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = stack(host_values(), gateway=GATEWAY)
    monkeypatch.setattr(status_module, "connect", lambda _: contextlib.nullcontext())

    def answer(_connection: object, _host: object, name: str, *_words: str) -> Any:
        if name != "gateway/provider_report":
            return report()
        provider_report.main(str(service.settings.metrics_port), NAME)
        return json.loads(capsys.readouterr().out)

    monkeypatch.setattr(status_module, "ask_program", answer)

    def shown() -> tuple[list[str], str]:
        lines = screen(status_module.look(outputs, outputs.hosts[0])).splitlines()
        seen = top_report.overflow(service.settings.metrics_port)
        top = drawn([Seen(host="one", latest=gateway(server("one"), overflow=seen))])
        return [" ".join(line.split()) for line in lines if "first:" in line], top

    with running_provider() as bad, running_provider() as good:
        bad.status = 503
        with running_overflow(tmp_path, provider_at(bad, "first"), provider_at(good, "second")) as service:
            assert shown()[0] == []
            assert service.metrics()['llm_overflow_requests_total{outcome="failed",provider="first"}'] == 0
            for _ in range(3):
                assert service.ask().headers["x-served-by"] == "overflow/second"
            lines, top = shown()
            assert lines == ["! overflow first: 3 of 3 tries failed: status 503"]
            assert "! provider first: 3 of 3 tries failed: status 503" in top
            assert "provider second" not in top
            rows = spend_report.report(service.settings.ledger)["rows"]
            assert {row["provider"]: (row["requests"], row["failed"]) for row in rows} == {
                "first": (3, 3),
                "second": (3, 0),
            }
            bad.status = 200
            assert service.ask().headers["x-served-by"] == "overflow/first"
            lines, top = shown()
            assert lines == ["overflow first: 3 of 4 tries failed: status 503"]
            assert "provider first" not in top


@pytest.mark.parametrize(
    ("served", "in_row", "words", "failing"),
    [
        (0, 5, "5 of 5 tries failed: status 503, timeout", True),
        (9, 3, "5 of 14 tries failed: status 503, timeout; the last 3 in a row", True),
        (9, 0, "5 of 14 tries failed: status 503, timeout", False),
    ],
)
def test_words(served: int, in_row: int, words: str, failing: bool) -> None:
    requests = [("served", served), ("failed", 4), ("cut", 1), ("day_cap", 100)]
    (tries,) = read_tries(
        {
            "requests": [{"provider": "a", "outcome": outcome, "value": value} for outcome, value in requests],
            "failed": [
                {"provider": "a", "cause": "timeout", "value": 1},
                {"provider": "a", "cause": "status 503", "value": 4},
            ],
            "failed_in_row": [{"provider": "a", "value": in_row}],
        }
    )
    assert (tries.words, tries.failing) == (words, failing)


def test_a_service_of_an_earlier_release_shows_nothing() -> None:
    assert read_tries({"requests": [{"provider": "a", "outcome": "failed", "value": 3}]}) == ()
    assert read_tries(None) == ()


def test_only_names_without_an_address_are_reported() -> None:
    assert list(provider_report.unresolved(["localhost", NAME, "127.0.0.1"])) == [NAME]


@pytest.mark.parametrize("provisioned", [{"one"}, {"another"}], ids=["the gateway", "another host"])
def test_a_provision_warns_of_a_name_that_does_not_resolve(
    provisioned: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(_connection: object, _host: object, _name: str, *words: str) -> Any:
        assert words[1:] == ("api.example.com",)
        return {"unresolved": {NAME: "Name or service not known"}, "tries": {}}

    monkeypatch.setattr(provider_names, "connect", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(provider_names, "ask_program", answer)
    outputs = stack(host_values(), gateway=GATEWAY)
    mention_unknown_names(outputs, provisioned, at_once=2)
    said = capsys.readouterr().err
    assert (f"! one: {NAME} has no address (Name or service not known)" in said) == ("one" in provisioned)


def test_a_host_that_does_not_answer_fails_no_provision(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> Any:
        raise HostError("gone", where="one")

    monkeypatch.setattr(provider_names, "connect", fails)
    outputs = stack(host_values(), gateway=GATEWAY)
    mention_unknown_names(outputs, {"one"}, at_once=2)
    assert capsys.readouterr().err == ""
