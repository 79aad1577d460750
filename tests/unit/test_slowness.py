"""Deadlines of tests follow the machine's slowness."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.paths import CHECKOUT
from tests import slowness

SHARED = """\
import pytest
from tests.conftest import FAILED

made = []

@pytest.fixture
def thing(request):
    yield made
    made.append(request.node.stash[FAILED])

def test_breaks(thing):
    assert False

def test_after_it(thing):
    assert thing == [True]
"""


def test_the_factor_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With fixed deadlines, tests failed on a machine with a load above 10."""
    times = iter([100.0, 100.0 + 3 * slowness.USUAL_S])
    monkeypatch.delenv(slowness.VARIABLE, raising=False)
    monkeypatch.setattr("tests.slowness.time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr("tests.slowness.subprocess", SimpleNamespace(run=lambda *_, **__: None))
    assert slowness.patient(10) == pytest.approx(30)
    assert slowness.patient(20) == pytest.approx(60)  # not measured again: `times` has ended


def test_workers_beyond_the_cores_count_as_slowness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.slowness.measured", lambda: 1.0)
    monkeypatch.setattr("tests.slowness.os.cpu_count", lambda: 2)
    for workers, factor in ((1, 1.0), (2, 1.0), (3, 1.5)):
        monkeypatch.delenv(slowness.VARIABLE, raising=False)
        assert slowness.factor(workers) == factor


@pytest.mark.parametrize(("seconds", "factor"), [(0.01, 1.0), (1e6, slowness.MOST)])
def test_the_factor_has_bounds(monkeypatch: pytest.MonkeyPatch, seconds: float, factor: float) -> None:
    times = iter([0.0, seconds])
    monkeypatch.setattr("tests.slowness.time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr("tests.slowness.subprocess", SimpleNamespace(run=lambda *_, **__: None))
    assert slowness.measured() == factor


def test_a_fixture_knows_whether_its_test_failed(tmp_path: Path) -> None:
    """The next two tests once got a host that one test had broken, and failed as well."""
    (tmp_path / "test_shared.py").write_text(SHARED)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*argv, "--rootdir", str(tmp_path), "-c", "/dev/null", str(tmp_path)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=slowness.patient(60),
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
