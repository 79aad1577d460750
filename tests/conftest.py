"""Fixtures that more than one folder of tests uses: real machines on this host."""

import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from infra.contract.outputs import HostRecord
from tests.machine.machines import NewMachine, begin_run, making_machines
from tests.slowness import factor, patient

SERVED = "served_machine"
"""The fixture of the machine that takes longest to create: one worker creates it and runs all its tests."""

CLOUD_OF = {
    "tests/engine/test_aws_double.py": "aws",
    "tests/engine/test_aws_stack.py": "aws",
    "tests/engine/test_aws_stacks.py": "aws",
    "tests/engine/test_aws_trouble.py": "aws",
    "tests/engine/test_gcp_stack.py": "gcp",
    "tests/engine/test_gcp_stacks.py": "gcp",
    "tests/engine/test_gcp_trouble.py": "gcp",
}
"""Files of one group: they share a simulated cloud, which takes seconds to start in each worker."""

LONGEST = (
    SERVED,
    "aws",
    "gcp",
    "tests/machine/test_ollama.py",
    "tests/machine/test_bundle.py",
    "tests/engine/test_interruption.py",
    "tests/engine/test_stack.py",
)
"""The slowest groups, slowest first: a slow group that starts last would delay the end."""

FAILED: pytest.StashKey[bool] = pytest.StashKey()
"""Whether a test has failed, for fixtures that share something which a test may have broken."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Measure once how slow this machine is, before the workers start, and give each test that much more time.

    Also forgets the variables of the `make` that runs the tests: `make test WORKERS=2` would set WORKERS for each
    target that a test starts.
    """
    for name in ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL"):
        os.environ.pop(name, None)
    if not hasattr(config, "workerinput"):  # a worker inherits it
        os.environ["PATH"] += f":{sys.prefix}/bin"  # tools/bootstrap.sh links programs that this machine lacks there
    usual = config.option.timeout or config.getini("timeout")
    if usual and not hasattr(config, "workerinput"):  # a worker has the controller's option, multiplied already
        factor(workers=config.getoption("numprocesses", None) or 1)
        config.option.timeout = patient(float(usual))
    gc.disable()  # collecting makes a million objects that stay


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: "pytest.CallInfo[None]",  # noqa: ARG001
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Record on the test that it has failed."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests of a file, or of a group of files, in one worker."""
    uses_served = SERVED in getattr(item, "fixturenames", ())
    file = item.nodeid.partition("::")[0]
    item.add_marker(pytest.mark.xdist_group(SERVED if uses_served else CLOUD_OF.get(file, file)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest groups first and the quick unit tests last, so that the workers end together."""
    items.sort(key=lambda item: (_rank(item), "unit" in item.path.parts))


def pytest_collection_finish() -> None:
    """Collect garbage again, without what stays to the end: imported modules and the tests themselves."""
    gc.freeze()
    gc.enable()


def _rank(item: pytest.Item) -> int:
    """Return the place of the item's group among the longest."""
    group = next(item.iter_markers("xdist_group")).args[0]
    return LONGEST.index(group) if group in LONGEST else len(LONGEST)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_reaches_commands() -> None:
    """Let commands that tests start take SIGINT as on a terminal.

    A shell starts a job in the background, such as a whole test run, with SIGINT ignored, and what it starts inherits
    that; two tests of Ctrl-C therefore hung.
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
    """A factory of machines that are always removed at the end of the test."""
    with making_machines(machine_state) as make:
        yield make
