"""Figures of the gateway's benchmark: what event logs and answers mean."""

import math

import pytest

from benchmarks.project.gateway.harness.engine import BLOCK_BYTES, Engine, Times, block_keys, prompt_of
from benchmarks.project.gateway.harness.figures import (
    Event,
    Figure,
    Refill,
    cached_share,
    growth,
    most_at_once,
    oracle_share,
    passed_over,
    percentile,
    refills,
)
from benchmarks.project.gateway.harness.load import Target, is_whole, read_head
from benchmarks.project.gateway.harness.others import OTHERS, version
from benchmarks.project.gateway.rows.malformed import malformed


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, percent) for percent in (0, 50, 99, 100)] == [1, 50, 99, 100]
    assert math.isnan(percentile([], 50))


def _ran(name: str, arrive: float, end: float) -> list[Event]:
    return [("arrive", name, arrive, 0), ("start", name, arrive, 0), ("end", name, end, 0)]


def test_a_place_that_is_taken_at_once_is_not_idle() -> None:
    events = {"a": [*_ran("1", 0, 5), *_ran("3", 5.1, 9)], "b": [*_ran("2", 0, 7), *_ran("4", 7.1, 9)]}
    taken = refills({"1": 0, "2": 0, "3": 1, "4": 1}, events, 1)
    assert [round(each.idle_s, 3) for each in taken] == [0.1, 0.1]
    assert passed_over(taken, 0.2) == []


def test_a_place_is_passed_over_if_one_that_is_free_later_is_taken_first() -> None:
    # Place a is free at 5. Requests 3 to 5 wait, and 3 and 4 get b's place, which is free later each time.
    events = {"a": [*_ran("1", 0, 5), *_ran("5", 9, 11)], "b": [*_ran("2", 0, 6), *_ran("3", 6, 7), *_ran("4", 7, 11)]}
    taken = refills({"1": 0, "2": 0, "3": 1, "4": 1, "5": 1}, events, 1)
    assert passed_over(taken, 0.5) == [Refill(free=5, taken=9)]
    assert passed_over(taken, 2.5) == []


def test_a_slow_gateway_passes_no_place_over() -> None:
    events = {"a": [*_ran("1", 0, 5), *_ran("3", 8, 9)], "b": [*_ran("2", 0, 6), *_ran("4", 9, 10)]}
    assert passed_over(refills({"1": 0, "2": 0, "3": 1, "4": 1}, events, 1), 0.5) == []


def test_a_place_that_nobody_takes_while_requests_wait_is_passed_over() -> None:
    events = {"a": _ran("1", 0, 5), "b": [*_ran("2", 0, 6), *_ran("3", 6, 7), *_ran("4", 7, 11)]}
    taken = refills({"1": 0, "2": 0, "3": 1, "4": 1}, events, 1)
    assert [each.free for each in passed_over(taken, 0.5)] == [5]


def test_a_place_is_not_idle_without_a_queue() -> None:
    events = {"a": [*_ran("1", 0, 5), *_ran("2", 9, 11)]}
    assert [each.idle_s for each in refills({"1": 0, "2": 8.9}, events, 1)] == [pytest.approx(0.1)]


def test_the_most_requests_at_once() -> None:
    logged: list[Event] = [("arrive", "1", 0, 0), ("arrive", "2", 1, 0), ("abort", "1", 2, 0), ("arrive", "3", 3, 0)]
    assert most_at_once(logged) == 2


def test_an_oracle_computes_each_group_once() -> None:
    assert oracle_share([(0, 3), (0, 3), (1, 3), (0, 3)], 4) == 6 / 16


def test_a_stand_in_finds_the_common_beginning_in_its_cache() -> None:
    engine = Engine(Times(load_s=2.0), places=1, cached_blocks=8, adapters=1)
    begin = b"x" * 3 * BLOCK_BYTES
    assert engine.take("base", begin + b"1") == (1.0, 2.0)
    assert engine.take("base", begin + b"2") == (0.25, 0.0)
    assert engine.take("other", begin + b"1") == (1.0, 2.0)  # an adapter's blocks are its own, and it was not loaded
    assert engine.take("base", begin + b"2")[1] == 2.0


def test_keys_of_blocks_cover_what_is_before_them() -> None:
    one, two = block_keys("m", b"a" * 200), block_keys("m", b"b" + b"a" * 199)
    assert len(one) == 4
    assert not set(one) & set(two)
    assert prompt_of({"messages": [{"content": "a"}, {"content": "b"}]}) == b"a b"


def test_the_share_of_cached_blocks_is_of_starts() -> None:
    logged: list[Event] = [("arrive", "1", 0, 0), ("start", "1", 0, 1000), ("start", "2", 0, 500)]
    assert cached_share({"a": logged}) == 0.75


def test_memory_that_grows_in_the_last_third() -> None:
    assert growth([9, 9, 9, 10, 10, 10, 10, 12, 11]) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Request-Id: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\n", False),
    ],
)
def test_the_end_of_an_answer(text: bytes, whole: bool) -> None:
    assert is_whole(bytearray(text)) is whole


def test_the_head_of_an_answer() -> None:
    assert read_head(b"HTTP/1.1 429 X\r\nRetry-After: 7\r\nConnection: close\r\n\r\n") == (429, 7.0, True)
    assert read_head(b"HTTP/1.1 200 X\r\n\r\n") == (200, None, False)
    assert read_head(b"") == (0, None, True)


def test_malformed_requests_differ_and_are_as_many_as_asked() -> None:
    requests = malformed(Target(port=1), 40)
    assert len(requests) == 40
    assert len(set(requests)) > 30


def test_a_figure_says_whether_its_goal_is_met() -> None:
    figure = Figure(row="r", name="n", goal="≤ 1", value="2", met=False)
    assert "missed" in figure.line()
    assert "noise" not in figure.line()


def test_each_other_gateway_has_a_locked_version() -> None:
    assert all(version(other.lock)[0].isdigit() for other in OTHERS)
