"""What each kind of resource would change: desired state and facts in, changes out, from the tables in cases/."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from provisioning.converge.agent.converge import KINDS, DesiredResource, read_resources
from provisioning.converge.payload import payload_of
from provisioning.converge.resources import (
    Command,
    Directory,
    Download,
    File,
    GeneratedSecret,
    Link,
    Packages,
    Resource,
    Secret,
    SshdFile,
    Swap,
    Sysctl,
    Unit,
    User,
    Venv,
)

CASES = Path(__file__).parent / "cases"
CLASSES: dict[str, type[Resource]] = {
    cls.kind: cls
    for cls in (
        Command, Directory, Download, File, GeneratedSecret, Link, Packages, SshdFile, Swap, Sysctl, Unit, User, Venv,
    )
}  # fmt: skip


def _all_cases() -> list[Any]:
    tables = {path.stem: json.loads(path.read_text()) for path in sorted(CASES.glob("*.json"))}
    return [pytest.param(kind, case, id=f"{kind}: {case['case']}") for kind in tables for case in tables[kind]]


def _wanted(kind: str, fields: dict[str, Any]) -> DesiredResource:
    """Return the desired state as the agent gets it, made the way the controller makes it."""
    if kind == "tree":  # its files are read from a folder of the controller: the table names them
        return DesiredResource(id="tree:x", kind=kind, **fields)
    values: dict[str, Any] = {n: Secret(v["secret"]) if isinstance(v, dict) else v for n, v in fields.items()}
    document = payload_of([CLASSES[kind](**values)], dry_run=True).document
    return read_resources(document["resources"], lambda _: None)[0]


@pytest.mark.parametrize(("kind", "case"), _all_cases())
def test_plan(kind: str, case: dict[str, Any]) -> None:
    """The plan is exactly the table's."""
    module = importlib.import_module(f"provisioning.converge.agent.kinds.{kind}")
    changes = module.plan(_wanted(kind, case["resource"]), case["fact"])
    assert [list(change) for change in changes] == case["changes"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_case_with_nothing_to_do(kind: str) -> None:
    """A kind without the do-nothing case might change something on every run."""
    cases = json.loads((CASES / f"{kind}.json").read_text())
    assert any(case["changes"] == [] for case in cases)
    assert any(case["changes"] for case in cases)
