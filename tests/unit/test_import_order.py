"""Imports go down only: between packages, between folders and between files. docs/architecture.md has the order.

Imports inside functions and under TYPE_CHECKING count like all others.
"""

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from catalog.clouds import CLOUDS, RENTED
from core import _RUN_BY_NAME
from core.paths import CHECKOUT

BELOW = {
    "core": (),
    "catalog": ("core",),
    "tools": ("core",),
    "serving": ("core", "catalog", "tools"),
    "services": ("core", "catalog", "tools", "serving"),
    "infra": ("core", "catalog", "tools", "serving"),
    "provisioning": ("core", "catalog", "tools", "serving", "services", "infra"),
    "benchmarks": ("core", "catalog", "tools", "serving", "services", "infra", "provisioning"),
}
"""Every package, and those that it may import."""

APART = [
    *((f"infra/clouds/{each}", f"infra/clouds/{other}") for each in CLOUDS for other in CLOUDS if other != each),
    *((f"infra/clouds/{each}", "infra/lifecycle") for each in CLOUDS),
    ("infra/config", "infra/clouds"),
    ("infra/config", "infra/lifecycle"),
    ("catalog", "infra"),
]
"""Folders, and folders that they never import."""

MAY_NAME_CLOUDS = ("catalog/", "infra/config/", *(f"infra/clouds/{each}/" for each in CLOUDS))
"""Folders with facts about clouds, with keys of the stack file, and the clouds' own. infra/clouds/registry.py needs no
name: the module of a cloud is found by its folder."""

NAMES_CLOUDS = {
    "benchmarks/project/converge/bench_host.py": "measures converge on a local machine",
    "benchmarks/project/preview.py": "runs the simulated cloud of a stack",
    "benchmarks/project/up_down.py": "runs a simulated AWS",
    "infra/contract/outputs.py": "the default of a field in inventory files",
    "infra/lifecycle/commands.py": "`local` is the name of the default stack",
    "infra/local/provider.py": "states of stacks made by 0.1.0 name this module",
    "provisioning/access/cloud_login.py": "logins of S3 and GCS buckets, whatever cloud a host is on",
    "services/spot_notice/amazon.py": "asks the metadata service of one cloud",
    "services/spot_notice/google.py": "asks the metadata service of one cloud",
    "services/spot_notice/watch.py": "asks the metadata service of the host's cloud",
    "tools/demo.py": "`local` is the name of a stack",
    "tools/make_variables.py": "checks CLOUD=… with no package imported",
    "tools/prose/rules.py": "`existing` is a word to write",
}
"""Other files that name a cloud, and why."""

STARTS = re.compile(r'^if __name__ == "__main__":$', re.MULTILINE)

Graph = Mapping[str, Iterable[str]]


@cache
def tree(file: str) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse((CHECKOUT / file).read_text())


@cache
def modules() -> Mapping[str, str]:
    """Return the file of every module of the packages."""
    files = (path for package in BELOW for path in sorted((CHECKOUT / package).rglob("*.py")))
    shown = (path.relative_to(CHECKOUT) for path in files if ".venv" not in path.parts and not path.is_symlink())
    return {".".join(file.with_suffix("").parts).removesuffix(".__init__"): str(file) for file in shown}


def imported(file: str) -> Iterator[str]:
    """Yield what a file imports, as dotted names: `a.b.c` for `from a.b import c`, be that a module or not."""
    package = file.replace("/", ".").rpartition(".py")[0].rpartition(".")[0]
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: len(package.split(".")) + 1 - node.level]) if node.level else ""
            base = ".".join(filter(None, (above, node.module)))
            yield from (f"{base}.{each.name}" for each in node.names)


@cache
def file_graph() -> Graph:
    """Return for each file the files of the packages that it imports."""
    known = modules()
    graph = {}
    for file in known.values():
        names = (name if name in known else name.rpartition(".")[0] for name in imported(file))
        graph[file] = {known[name] for name in names if name in known} - {file}
    return graph


def folder_graph() -> Graph:
    """Return for each folder the other folders whose files its files import."""
    graph: dict[str, set[str]] = {}
    for file, others in file_graph().items():
        folder = str(Path(file).parent)
        graph.setdefault(folder, set()).update({str(Path(other).parent) for other in others} - {folder})
    return graph


def circle(graph: Graph) -> list[str]:
    """Return one circle of a graph; empty if it has none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("package", BELOW)
def test_a_package_imports_only_packages_below_it(package: str) -> None:
    above = set(BELOW) - {package, *BELOW[package]}
    files = [file for file in modules().values() if file.startswith(f"{package}/")]
    wrong = [(file, name) for file in files for name in imported(file) if name.partition(".")[0] in above]
    assert files
    assert wrong == []


def test_every_package_has_a_place_in_the_order() -> None:
    with_code = {path.parent.name for path in CHECKOUT.glob("*/__init__.py")}
    assert with_code - {"tests"} == set(BELOW)


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circle(file_graph()) == []


def test_no_folders_import_each_other_in_a_circle() -> None:
    assert circle(folder_graph()) == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        pytest.param("import a.b", "a.b", id="import"),
        pytest.param("from a import b", "a.b", id="from"),
        pytest.param("from . import b", "core.b", id="relative"),
        pytest.param("from .a import b", "core.a.b", id="relative to a module"),
        pytest.param("def f():\n    import a.b", "a.b", id="inside a function"),
        pytest.param("if TYPE_CHECKING:\n    from a import b", "a.b", id="for types alone"),
    ],
)
def test_sees_every_kind_of_import(source: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "tree", lambda _file: ast.parse(source))
    assert list(imported("core/a_file.py")) == [name]


def test_finds_a_circle() -> None:
    assert set(circle({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]})) == {"a", "b", "c"}


@pytest.mark.parametrize(("folder", "other"), APART)
def test_folders_that_are_kept_apart(folder: str, other: str) -> None:
    graph = {file: others for file, others in file_graph().items() if file.startswith(f"{folder}/")}
    assert graph
    assert [(file, each) for file, others in graph.items() for each in others if each.startswith(f"{other}/")] == []


def test_config_imports_no_pulumi() -> None:
    files = [file for file in modules().values() if file.startswith("infra/config/")]
    assert [file for file in files if any(name.partition(".")[0] == "pulumi" for name in imported(file))] == []


def clouds_named_in(module: ast.Module) -> set[str]:
    """Return the clouds that a file names: by a string, in an identifier, or by importing one.

    `local` and `existing` are ordinary words too, so they count only as whole strings and in imports.
    """
    found = set()
    for node in ast.walk(module):
        words: list[str] = []
        if isinstance(node, ast.Constant) and node.value in CLOUDS:
            words = [str(node.value)]
        elif isinstance(node, ast.Name | ast.Attribute | ast.FunctionDef | ast.ClassDef | ast.arg | ast.keyword):
            identifier = getattr(node, "id", "") or getattr(node, "attr", "") or getattr(node, "name", "")
            identifier = identifier or getattr(node, "arg", "") or ""
            words = [word for word in identifier.lower().split("_") if word in RENTED]
        elif isinstance(node, ast.ImportFrom | ast.Import):
            base = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            dotted = [f"{base}{each.name}" for each in node.names]
            words = [each.split(".")[2] for each in dotted if each.startswith("infra.clouds.") and each.count(".") > 1]
            words = [word for word in words if word in CLOUDS]
        found |= set(words)
    return found


def test_only_the_folder_of_a_cloud_names_it() -> None:
    files = [file for file in modules().values() if not file.startswith(MAY_NAME_CLOUDS)]
    found = {file for file in files if clouds_named_in(tree(file))}
    assert found == set(NAMES_CLOUDS)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        pytest.param('if cloud == "aws": pass', {"aws"}, id="string"),
        pytest.param('CLOUDS = {"local": 1, "existing": 2}', {"local", "existing"}, id="keys"),
        pytest.param("gcp_disks = 1", {"gcp"}, id="identifier"),
        pytest.param("from infra.clouds.local import machine", {"local"}, id="import of a module"),
        pytest.param("from infra.clouds import gcp", {"gcp"}, id="import of a folder"),
        pytest.param("local = existing", set(), id="ordinary words"),
        pytest.param("from infra.clouds.registry import cloud_of", set(), id="registry"),
        pytest.param('"""Prices of aws and gcp."""', set(), id="docstring"),
    ],
)
def test_finds_names_of_clouds(source: str, names: set[str]) -> None:
    assert clouds_named_in(ast.parse(source)) == names


def test_mypy_checks_every_package() -> None:
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    assert {*settings["tool"]["mypy"]["packages"]} == {*BELOW, "tests"}


def test_ctrl_c_ends_every_package_with_a_program_early() -> None:
    with_program = {
        file.partition("/")[0] for file in modules().values() if STARTS.search((CHECKOUT / file).read_text())
    }
    assert with_program == {*_RUN_BY_NAME}
