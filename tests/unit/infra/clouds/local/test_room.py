"""What a stack's file may ask of this computer."""

import pytest

from infra.clouds.local.room import host_memory_gib, more_than_there_is
from infra.config.models.machine import MachineSpec


@pytest.mark.parametrize(
    ("machine", "reported"),
    [
        pytest.param({"memory_gib": 23.4, "cpus": 2}, [], id="all of it"),
        pytest.param({"memory_gib": 11, "cpus": 2, "count": 2}, [], id="half of it, twice"),
        pytest.param(
            {"memory_gib": 600},
            ["machine.memory_gib: 600 GiB is more than the 23.4 GiB of this computer; write at most 23.4"],
            id="memory",
        ),
        pytest.param(
            {"memory_gib": 12, "count": 2},
            ["machine.memory_gib: 12 GiB x 2 machines is more than the 23.4 GiB of this computer; write at most 11.7"],
            id="memory of all machines",
        ),
        pytest.param(
            {"cpus": 64},
            ["machine.cpus: 64 is more than the 2 processors of this computer; write at most 2"],
            id="processors",
        ),
    ],
)
def test_more_than_this_computer_has_is_refused_with_the_numbers(
    machine: dict[str, float], reported: list[str]
) -> None:
    """600 GiB and 64 processors once passed preview, preflight and up on a small computer."""
    spec = MachineSpec.model_validate(machine)

    found = more_than_there_is(spec, memory_gib=23.44, cpus=2)

    assert [f"{each.key}: {each.what}; {each.hint}" for each in found] == reported


def test_this_computer_has_memory() -> None:
    assert 0.5 < host_memory_gib() < 65536
