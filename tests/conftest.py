"""Fixtures that more than one folder of tests uses: real machines on this host."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.outputs import HostRecord
from tests.machine.machines import NewMachine, begin_run, making_machines

SERVED = "served_machine"
"""The fixture of the machine that takes longest to make: one worker makes it, and runs all tests that use it."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests of a file in one worker."""
    uses_served = SERVED in getattr(item, "fixturenames", ())
    item.add_marker(pytest.mark.xdist_group(SERVED if uses_served else item.location[0]))


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
