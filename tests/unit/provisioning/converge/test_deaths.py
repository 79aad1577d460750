"""How many deaths of a unit are too many, by its journal after each death."""

from functools import partial

import pytest

from provisioning.converge.agent.deaths import Deaths
from provisioning.roles.engine.engine import LEFT_OUT, PASSING


def ended(name: str) -> str:
    return f"(APIServer pid=7) llm_deploy_adapters: {name}: the engine ended while it loaded this adapter; look\n"


def left(name: str) -> str:
    return f"llm_deploy_adapters: {name} is left out: the engine ended while it loaded this adapter; look\n"


BUSY = "ValueError: Free memory on device cuda:0 is less than desired\n"

LIVES: dict[str, tuple[list[str], int | None]] = {
    "a wrong option": (["error: x\n"] * 2, 2),
    "memory that another process holds": ([BUSY] * 4, None),
    "an adapter, then good": ([ended("a@1")], None),
    "three adapters": ([ended("a@1"), left("a@1") + ended("b@1"), left("a@1") + left("b@1") + ended("c@1")], None),
    "two adapters, and the plugin was killed with the engine": (["killed\n", left("a@1") + "killed\n"], None),
    "an adapter, then something else": ([ended("a@1"), left("a@1") + "error: x\n", left("a@1") + "error: x\n"], 3),
    "an adapter that cannot be noted": ([ended("a@1")] * 3, 3),
    "an adapter that vLLM refuses, and an error": (
        ["llm_deploy_adapters: a@1 is left out: is unfit\nerror: x\n"] * 2,
        2,
    ),
}


@pytest.mark.parametrize("name", LIVES)
def test_the_deaths_of_an_engine(name: str) -> None:
    """Two adapters that each ended the engine counted as two deaths, and the first provision failed."""
    lives, fails_after = LIVES[name]
    deaths, journal = Deaths(PASSING, LEFT_OUT), ""
    deaths.begin(0)
    for number, life in enumerate(lives, 1):
        journal += life
        deaths.look(number, partial(str, journal))
        assert deaths.are_too_many == (number == fails_after)


def test_a_left_out_adapter_is_found_once_and_resets_systemds_count() -> None:
    deaths, reads = Deaths("", LEFT_OUT), []

    def journal() -> str:
        reads.append(1)
        return ended("a@1") if len(reads) == 1 else left("a@1") + ended("b@1")

    deaths.begin(3)
    assert not deaths.look(3, journal)
    assert deaths.look(4, journal)
    deaths.begin(0)
    assert not deaths.look(0, journal)
    assert deaths.look(1, journal)
    assert (len(reads), deaths.number, deaths.are_too_many) == (2, 2, False)
