"""Lines from other programs: the agent on a host, and the Pulumi engine."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from infra.automation.events import Report
from provisioning.converge.messages import event_of, read_event
from tests.fuzz.inputs import ANY_BYTES, ODD, as_json, changed
from tests.fuzz.judged import judged

AGENT: list[Any] = [
    {"event": "resource", "id": "file:/a", "status": "changed", "changes": ["written"], "diff": "+a", "seconds": 0.1},
    {"event": "progress", "id": "tree:/b", "text": "fetches", "fraction": 0.5},
    {"event": "need", "pieces": [["0" * 64, 0, 10]]},
    {"event": "end", "phases": {"facts": 0.1}},
    {"event": "refused", "error": "no systemd", "detail": ""},
    {"event": "crashed", "detail": "Traceback"},
]

URN = "urn:pulumi:s::p::aws:ec2/instance:Instance::s-1"
STATE = {"custom": True, "inputs": {"a": 1}, "outputs": {"b": 2}}
ENGINE: list[Any] = [
    {"preludeEvent": {}},
    {"diagnosticEvent": {"message": "hello", "severity": "error"}},
    {"resourcePreEvent": {"metadata": {"op": "update", "urn": URN, "type": "aws:ec2/instance:Instance", "new": STATE}}},
    {"resOutputsEvent": {"metadata": {"op": "create", "urn": URN, "type": "pulumi:pulumi:Stack", "new": STATE}}},
]


def _understood(line: bytes) -> Any:
    event = event_of(line)
    try:
        return None if event is None else read_event(event)
    except ValueError:
        return None  # the controller names the host


@given(line=st.one_of(ANY_BYTES, st.sampled_from(AGENT).flatmap(changed).map(as_json), ODD.map(as_json)))
@example(line=b'{"event": "resource", "id": ' + b"[" * 100_000)
@example(line=b'{"event": "resource", "id": 5}')
def test_agents(line: bytes) -> None:
    judged(lambda: _understood(line))


def test_good_events_are_understood() -> None:
    assert [type(read_event(event)).__name__ for event in AGENT] == [
        "Outcome", "Progress", "Need", "End", "Trouble", "Trouble",
    ]  # fmt: skip
    assert all(event_of(json.dumps(event).encode()) == event for event in AGENT)


@given(line=st.one_of(ANY_BYTES, st.sampled_from(ENGINE).flatmap(changed).map(as_json), ODD.map(as_json)))
@example(line=b"5")
@example(line=b"[" * 100_000)
def test_engines(line: bytes) -> None:
    report = Report()
    judged(lambda: report.read(line.decode(errors="replace")))
    judged(report.summary)
