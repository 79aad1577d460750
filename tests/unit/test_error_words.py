"""Every error that a user causes says where it is and what to write: checked in the source."""

import ast
from collections.abc import Iterator

import pytest

from core.paths import CHECKOUT
from tests.unit.test_import_order import BELOW

PERSONS = {"ConfigError", "UsageError"}
WANTED = {"where", "hint"}

WITHOUT_HINT = {
    "infra/clouds/program/guards.py": "each broken rule says itself what to write",
    "provisioning/adapters/checks.py": "the words of the program that fetches, which has its own",
}
"""Files with one function that creates an error without a hint, and why."""


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield each function of the project with its file."""
    for folder in sorted(BELOW):
        for path in sorted((CHECKOUT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef):
                    yield str(path.relative_to(CHECKOUT)), node


def lacking(function: ast.FunctionDef) -> set[str]:
    """Return which of place and hint the errors in `function` lack; an empty text counts as missing."""
    found = set[str]()
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PERSONS:
            given = {
                word.arg
                for word in node.keywords
                if not (isinstance(word.value, ast.Constant) and not word.value.value)
            }
            found |= WANTED - given
    return found


def test_each_error_has_a_place_and_a_hint() -> None:
    bare = [(file, function.name, lacking(function)) for file, function in functions() if lacking(function)]
    assert [(file, missing) for file, _, missing in bare] == [(file, {"hint"}) for file in WITHOUT_HINT], bare


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("raise UsageError('is wrong', where='--host', hint='write it')", set[str]()),
        ("raise UsageError('is wrong', where='--host')", {"hint"}),
        ("raise ConfigError('is wrong', where='', hint='write it')", {"where"}),
        ("return ConfigError('is wrong')", {"where", "hint"}),
        ("raise HostError('is down')", set[str]()),
    ],
)
def test_finds_errors_without_a_place_or_a_hint(source: str, missing: set[str]) -> None:
    function = ast.parse(f"def f():\n    {source}\n").body[0]
    assert isinstance(function, ast.FunctionDef)
    assert lacking(function) == missing
