"""The journal's command, and lines put together from the pieces that come over the wire."""

from contextlib import nullcontext

import pytest

from provisioning.hosts.target import Target
from provisioning.operate import logs as module
from provisioning.operate.logs import by_time, journal_command, whole_lines
from tests.unit.provisioning.records import host_values, stack


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([], []),
        (["one\ntwo\n"], ["one", "two"]),
        (["on", "e\nt", "wo"], ["one", "two"]),
        (["a\n\nb\n"], ["a", "", "b"]),
    ],
)
def test_pieces_become_lines(pieces: list[str], lines: list[str]) -> None:
    assert list(whole_lines(pieces)) == lines


def test_lines_of_several_hosts_are_in_the_order_of_their_times() -> None:
    """Whole hosts came one after the other, so nobody could follow a request from the gateway to its engine."""
    gateway = [
        "2026-11-30T18:00:01.100000+0000 gw haproxy[9]: first",
        "2026-11-30T18:00:04.000000+0000 gw haproxy[9]: last",
    ]
    engine = [  # in another time zone, and with a message of two lines
        "2026-11-30T19:00:02.500000+0100 one vllm[7]: third",
        "                                    of two lines",
        "2026-11-30T19:00:01.000000+0100 one vllm[7]: logged after it, though its time is earlier",
    ]
    early = ["2026-11-30T18:00:01.200000+00:00 two vllm[7]: second"]
    assert list(by_time({"gw": gateway, "one": engine, "two": early, "silent": []})) == [
        ("gw", gateway[0]),
        ("two", early[0]),
        *(("one", line) for line in engine),
        ("gw", gateway[1]),
    ]


def test_logs_of_a_pool_are_one_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = stack(host_values("p-1", address="203.0.113.1"), host_values("p-2", address="203.0.113.2"))
    said = {
        "p-1": ["2026-11-30T18:00:01.0+0000 a\n2026-11-30T18:00:0", "3.0+0000 c\n"],
        "p-2": ["2026-11-30T18:00:02.0+0000 b\n"],
    }
    monkeypatch.setattr(module, "load_to_look", lambda _: outputs)
    monkeypatch.setattr(module, "connect", lambda _: nullcontext())
    monkeypatch.setattr(module, "stream", lambda _connection, target, _argv: iter(said[target.name]))
    assert module.logs(Target(stack="test"), names=[], unit="", lines=9, follow=False) == 0
    shown = [(line[:3], line[-1]) for line in capsys.readouterr().out.splitlines()]
    assert shown == [("p-1", "a"), ("p-2", "b"), ("p-1", "c")]


def test_all_units_are_named() -> None:
    command = journal_command(["vllm.service", "haproxy.service"], 50, follow=True)
    assert command[-4:] == ["-u", "vllm.service", "-u", "haproxy.service"]
    assert "-f" in command
    assert command[command.index("-n") + 1] == "50"
    assert "-f" not in journal_command(["vllm.service"], 50, follow=False)
