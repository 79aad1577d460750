"""Stack files in a separate checkout."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

CASES = Path(__file__).parent / "cases"

FASTEST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""PyYAML's loader in C, if it was built with libyaml: every worker reads all tables."""

WriteStack = Callable[[str], None]


def changed(base: Any, case: dict[str, Any]) -> Any:
    """Return a copy of `base` with the values in `set` and without the keys in `unset` (paths with `/`)."""
    value = copy.deepcopy(base)
    for path, new in case.get("set", {}).items():
        place, last = _parent(value, path)
        place[last] = new
    for path in case.get("unset", []):
        place, last = _parent(value, path)
        del place[last]
    return value


def _parent(value: Any, path: str) -> tuple[Any, Any]:
    *above, last = path.split("/")
    for step in above:
        value = value[int(step)] if isinstance(value, list) else value.setdefault(step, {})
    return (value, int(last)) if isinstance(value, list) else (value, last)


def cases(name: str) -> list[Any]:
    """Return the cases of one table as pytest parameters."""
    table = yaml.load((CASES / f"{name}.yaml").read_text(), Loader=FASTEST)  # noqa: S506  # both are safe loaders
    return [pytest.param(case, id=f"{name}: {case['case']}") for case in table]


@pytest.fixture(scope="session")
def bases() -> dict[str, Any]:
    """Valid configs."""
    found: dict[str, Any] = yaml.safe_load((CASES / "bases.yaml").read_text())
    return found


@pytest.fixture
def stacks_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of stack files, in a checkout whose state folder does not exist yet."""
    folder = tmp_path / "stacks"
    folder.mkdir()
    monkeypatch.setattr("infra.config.reader.STACKS_DIR", folder)
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LLM_DEPLOY_RUNS", str(tmp_path / "runs"))
    return folder


@pytest.fixture
def write_stack(stacks_dir: Path) -> WriteStack:
    """Write the text of the stack `case`."""

    def write(text: str) -> None:
        (stacks_dir / "Pulumi.case.yaml").write_text(text)

    return write
