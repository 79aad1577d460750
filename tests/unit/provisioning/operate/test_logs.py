"""The journal's command, and lines put together from the pieces that come over the wire."""

import pytest

from provisioning.operate.logs import journal_command, whole_lines


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


def test_all_units_are_named() -> None:
    command = journal_command(["vllm.service", "haproxy.service"], 50, follow=True)
    assert command[-4:] == ["-u", "vllm.service", "-u", "haproxy.service"]
    assert "-f" in command
    assert command[command.index("-n") + 1] == "50"
    assert "-f" not in journal_command(["vllm.service"], 50, follow=False)
