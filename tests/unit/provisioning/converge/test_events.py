"""The agent's events: masked, held back while nothing changes, and silent without a listener."""

import json
import os

import pytest

from provisioning.converge.agent.events import Cut, Events


def emitted(secrets: list[str], text: str) -> str:
    """Return `text` as it arrives."""
    reader, writer = os.pipe()
    events = Events(writer, None)
    for secret in secrets:
        events.keep_secret(secret)
    events.emit("progress", text=text, nested={"deep": [text]})
    os.close(writer)
    with os.fdopen(reader) as stream:
        event = json.loads(stream.read())
    assert event["nested"]["deep"] == [event["text"]]
    return str(event["text"])


MASKED = {
    "whole": (["s3cret"], "x s3cret y", "x (secret) y"),
    "longest first": (["abc", "abcdef"], "abcdef abc", "(secret) (secret)"),
    "one line of a key": (["-----BEGIN\nAAAABBBBCCCC\n-----END"], "got AAAABBBBCCCC", "got (secret)"),
    "newline at the end": (["s3cret\n"], "x s3cret y", "x (secret) y"),
    "quotes and backslashes": (['a"b\\c'], 'x a"b\\c y', "x (secret) y"),
    "nothing secret": (["s3cret"], "plain", "plain"),
    "empty secret": ([""], "plain", "plain"),
}


@pytest.mark.parametrize("case", MASKED)
def test_mask(case: str) -> None:
    """Secrets are masked everywhere in an event, the rest stays."""
    secrets, text, expected = MASKED[case]
    assert emitted(secrets, text) == expected


def test_a_short_secret_breaks_no_word_of_the_protocol() -> None:
    """A proxy's password `1234` changed the digests that the agent requested."""
    reader, writer = os.pipe()
    events = Events(writer, None)
    events.keep_secret("1234")
    events.emit("need", pieces=[["ab1234ff", 0, 1234]], id="file:/1234", text="1234")
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = json.loads(stream.read())
    assert said == {"event": "need", "pieces": [["ab1234ff", 0, 1234]], "id": "file:/1234", "text": "(secret)"}


def test_held_events_travel_with_the_next() -> None:
    """A run that changes nothing sends everything in one write."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    events = Events(writer, None)
    events.emit("resource", hold=True, id="a")
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    events.emit("end")
    assert [json.loads(line)["event"] for line in os.read(reader, 4096).splitlines()] == ["resource", "end"]
    os.close(reader)
    os.close(writer)


def test_a_closed_output_is_a_cut_and_not_an_exception() -> None:
    """A running change must not break because nobody listens: the cut is raised between resources."""
    reader, writer = os.pipe()
    os.close(reader)
    events = Events(writer, None)
    events.emit("end")
    with pytest.raises(Cut):
        events.stop_if_cut()
    os.close(writer)


def test_the_end_of_the_connection_is_a_cut() -> None:
    """The end of stdin means that the controller has disconnected, unless answers are on their way."""
    reader, writer = os.pipe()
    events = Events(1, reader)
    assert not events.controller_gone()
    os.close(writer)
    assert events.controller_gone()
    os.close(reader)
