"""Fixtures that more than one folder of tests uses: real machines on this host."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.outputs import HostRecord
from tests.machine.machines import NewMachine, begin_run, making_machines

ALONE = "alone"
"""Mark of tests with a real engine: it computes on all cores, and slows down many times when others want them, too."""

ENGINE_FIXTURES = frozenset({"served_machine"})


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark tests by what they use; for `make test`, those of a file stay in one worker."""
    if ENGINE_FIXTURES & set(getattr(item, "fixturenames", ())):
        item.add_marker(ALONE)
    item.add_marker(pytest.mark.xdist_group(item.location[0]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the quick unit tests last, so that the workers end together."""
    items.sort(key=lambda item: "unit" in item.path.parts)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_reaches_commands() -> None:
    """Let commands that tests start take SIGINT as on a terminal.

    A shell starts a job in the background, such as a whole test run, with SIGINT ignored, and what it starts inherits
    that; two tests of Ctrl-C once waited in vain.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def machine_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder of this test run; its machines belong to it, not to the checkout."""
    if os.geteuid() != 0:
        pytest.skip("real machines need root")
    state = tmp_path_factory.mktemp("state")
    begin_run(state)
    return state


@pytest.fixture(scope="session")
def machine(machine_state: Path) -> Iterator[HostRecord]:
    """One small machine for the whole run. Tests that break or reboot a machine make their own."""
    with making_machines(machine_state) as make:
        yield make("shared")


@pytest.fixture
def new_machine(machine_state: Path) -> Iterator[NewMachine]:
    """A factory of machines that surely go when the test ends."""
    with making_machines(machine_state) as make:
        yield make
