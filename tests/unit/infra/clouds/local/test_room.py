"""What a stack's file may ask of this computer."""

import pytest

from infra.clouds.local.room import host_memory_gib, more_than_there_is
from infra.config import parse_deployment


@pytest.mark.parametrize(
    ("machine", "gateway", "reported"),
    [
        pytest.param({"memory_gib": 23.4, "cpus": 2}, None, [], id="all of it"),
        pytest.param({"memory_gib": 11, "cpus": 2, "count": 2}, None, [], id="half of it, twice"),
        pytest.param(
            {"memory_gib": 600},
            None,
            ["machine.memory_gib: 600 GiB is more than the 23.4 GiB of this computer; write at most 23.4"],
            id="memory",
        ),
        pytest.param(
            {"memory_gib": 12, "count": 2},
            None,
            ["machine.memory_gib: 12 GiB x 2 machines is more than the 23.4 GiB of this computer; write at most 11.7"],
            id="memory of all machines",
        ),
        pytest.param(
            {"cpus": 64},
            None,
            ["machine.cpus: 64 is more than the 2 processors of this computer; write at most 2"],
            id="processors",
        ),
        pytest.param({"memory_gib": 10, "count": 2}, {"memory_gib": 3.4}, [], id="all of it with a gateway's machine"),
        pytest.param(
            {"memory_gib": 11, "count": 2},
            {"memory_gib": 2},
            [
                "machine.memory_gib: 11 GiB x 2 machines and 2 GiB for the gateway's is more than the 23.4 GiB of this"
                " computer; write at most 10.7"
            ],
            id="memory with that of the gateway's machine",
        ),
        pytest.param(
            {"memory_gib": 4},
            {"memory_gib": 23},
            [
                "gateway.machine.memory_gib: 23 GiB leaves no memory for engines on this computer, which has 23.4 GiB;"
                " write less"
            ],
            id="memory of the gateway's machine alone",
        ),
        pytest.param(
            {"cpus": 2},
            {"cpus": 4},
            ["gateway.machine.cpus: 4 is more than the 2 processors of this computer; write at most 2"],
            id="processors of the gateway's machine",
        ),
    ],
)
def test_more_than_this_computer_has_is_refused_with_the_numbers(
    machine: dict[str, float], gateway: dict[str, float] | None, reported: list[str]
) -> None:
    """600 GiB and 64 processors once passed preview, preflight and up on a small computer."""
    serving = {"model": {"name": "tiny", "source": {"kind": "tiny", "name": "llama"}}}
    own = {} if gateway is None else {"gateway": {"machine": gateway}}
    value = {"cloud": "local", "machine": machine, "serving": serving} | own

    found = more_than_there_is(parse_deployment(value, "a test"), memory_gib=23.44, cpus=2)

    assert [f"{each.key}: {each.what}; {each.hint}" for each in found] == reported


def test_this_computer_has_memory() -> None:
    assert 0.5 < host_memory_gib() < 65536
