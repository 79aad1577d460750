"""The screen of `make top`, drawn without a terminal, and what it says first when something is wrong."""

import io

import pytest
from rich.console import Console

from provisioning.operate.top.screen import screen
from provisioning.operate.top.values import Seen, top
from tests.unit.provisioning.operate.top.reports import engine, gateway, pool, refused, server


def drawn(seen: list[Seen], width: int = 100, *, colours: bool = False) -> str:
    """Return the screen as text."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=colours, no_color=not colours, highlight=False)
    console.print(screen(top("local-pool", seen), clock="03:00:00 UTC", width=width))
    return file.getvalue()


def test_a_pool_with_a_host_down() -> None:
    lines = [line.rstrip() for line in drawn(pool()).splitlines()]
    assert lines == [
        "local-pool  03:00:00 UTC  1 of 2 hosts not up  1 of 23 requests failed",
        "3 waiting  7 of 8 places taken  123 tokens/s",
        "",
        "host    state  running/places  out tok/s  in tok/s  KV cache  adapters",
        "pool-1  UP                7/8        123      1230       42%  contract@3",
        "pool-2  DOWN              0/8          -         -         -  -",
        "",
        "waiting now, and ended in the last 60 s",
        "class        waiting  requests  failed  refused  first p50  first p95  wait p95",
        "interactive        3        23       1        2     400 ms     400 ms    100 ms",
        "failed: 1 HTTP 502",
        "refused: 2 queue_full",
        "",
        "overflow  period  spent USD  cap USD  used",
        "together     day     4.2000     5.00   84%",
        "! pool-2: no answer for 14 s",
    ]


def test_a_client_above_its_share_gets_a_hint_beside_an_unused_provider() -> None:
    overflow = {"spent_usd": [{"provider": "double", "period": "day", "value": 0.0}], "cap_usd": []}
    requests = [refused("share_exceeded")] * 4 + [refused("model_not_found") | {"class": "-"}]
    hint = "share_exceeded: a client above its share never goes to a provider; give it a larger `share`"
    alone = drawn([Seen(host="one", latest=gateway(server("one"), requests=requests))])
    assert hint not in alone
    text = drawn([Seen(host="one", latest=gateway(server("one"), requests=requests, overflow=overflow))])
    assert hint in text
    assert "no class" in text
    assert "\nall " not in text


@pytest.mark.parametrize("width", [40, 50, 60, 71, 80, 200])
def test_no_line_is_longer_than_the_terminal_and_the_alarms_stay(width: int) -> None:
    lines = drawn(pool(), width).splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for alarm in ("1 of 2 hosts not up", "1 of 23 requests failed", "no answer for 14 s", "DOWN"):
        assert alarm in text


def test_names_of_adapters_wrap_and_the_rest_stays_whole() -> None:
    """With two adapters a screen of 80 columns once said `local…` and `running/plac…`."""
    host = gateway(server("local-1"), engine=engine(3, adapters=["contract@1", "summary@1"]))
    text = drawn([Seen(host="local-1", latest=host)], 80)
    assert "…" not in text
    for whole in ("local-1", "running/places", "in tok/s", "contract@1", "summary@1"):
        assert whole in text


def test_without_a_terminal_there_is_no_escape_sequence() -> None:
    assert "\x1b" not in drawn(pool())
    assert "\x1b[" in drawn(pool(), colours=True)


def test_no_request_is_not_the_same_as_no_gateway() -> None:
    quiet = drawn([Seen(host="one", latest=gateway(server("one"), engine=engine(0)))])
    assert "no requests" in quiet
    assert "0 waiting" in quiet
    gone = drawn([Seen(host="one", error="timed out")])
    assert "no gateway answers" in gone
    assert "queue unknown" in gone
    assert "0 waiting" not in gone
    assert "- of - places taken" in gone


def test_control_characters_of_a_host_do_not_reach_the_terminal() -> None:
    text = drawn([Seen(host="one", error="bad \x1b[2J\x07 words")])
    assert "\x1b" not in text
    assert "\x07" not in text
