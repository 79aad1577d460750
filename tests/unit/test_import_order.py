"""No step imports a later one, wherever in a file the import stands: docs/architecture.md tells the order."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.paths import CHECKOUT

STANDS_ON = {
    "core": (),
    "catalog": ("core",),
    "tools": ("core",),
    "serving": ("core", "catalog", "tools"),
    "infra": ("core", "catalog", "tools", "serving"),
    "provisioning": ("core", "catalog", "tools", "serving", "infra"),
    "benchmarks": ("core", "catalog", "tools", "serving", "infra", "provisioning"),
}
"""Every folder with code, and what of the others it may import."""

STRANGERS = [
    ("infra/clouds/aws", ("infra.clouds.gcp", "infra.clouds.local", "infra.lifecycle")),
    ("infra/clouds/gcp", ("infra.clouds.aws", "infra.clouds.local", "infra.lifecycle")),
    ("infra/clouds/local", ("infra.clouds.aws", "infra.clouds.gcp", "infra.lifecycle")),
    ("infra/config", ("infra.clouds", "infra.lifecycle", "pulumi")),
]
"""Parts of infra, and what they do without."""


def imports(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each file of a folder with each module that it imports, inside functions and for types alone, too."""
    for path in sorted(folder.rglob("*.py")):
        file = str(path.relative_to(CHECKOUT))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((file, each.name) for each in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((file, f"{node.module}.{each.name}") for each in node.names)


@pytest.mark.parametrize("folder", STANDS_ON)
def test_a_folder_imports_only_what_it_stands_on(folder: str) -> None:
    others = set(STANDS_ON) - {folder, *STANDS_ON[folder]}
    wrong = [(file, name) for file, name in imports(CHECKOUT / folder) if name.partition(".")[0] in others]
    assert wrong == []


@pytest.mark.parametrize(("folder", "strange"), STRANGERS)
def test_parts_of_infra_do_not_know_each_other(folder: str, strange: tuple[str, ...]) -> None:
    found = [(file, name) for file, name in imports(CHECKOUT / folder) if f"{name}.".startswith(_dotted(strange))]
    assert found == []


def test_every_folder_with_code_has_its_place_in_the_order() -> None:
    with_code = {path.parent.name for path in CHECKOUT.glob("*/__init__.py")}
    assert with_code - {"tests"} == set(STANDS_ON)


def _dotted(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{each}." for each in names)
