"""The benchmark's fabfile, whose folder fab puts first on the path."""

from benchmarks.project.converge import compared_tools
from core.paths import CHECKOUT


def test_no_module_beside_the_fabfile_hides_a_package_of_the_project() -> None:
    """`tools.py` once hid `tools`, and the benchmark ended with an ImportError."""
    packages = {path.parent.name for path in CHECKOUT.glob("*/__init__.py")}
    beside = {path.stem for path in compared_tools.HERE.glob("*.py")}
    assert "fabfile" in beside
    assert packages & beside == set()
