"""A host-wide store in a folder of the test's own."""

from pathlib import Path

import pytest

from infra.clouds.local.parts import record


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No unit test touches this host's machines."""
    folder = tmp_path / "llm-deploy" / "machines"
    monkeypatch.setattr(record, "STORE", folder)
    return folder
