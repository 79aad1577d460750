"""Preflight on AWS with canned answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.clouds.aws.api import client
from infra.clouds.finding import Finding
from infra.contract.stack_placement import KnownPlacement
from infra.lifecycle.preflight.checks import findings
from tests.unit.infra.clouds.preflight import canned_aws
from tests.unit.infra.clouds.preflight.canned_aws import GOOD, QUOTAS, Answers, config


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[Finding]]:
    """Check a stack of one g5.xlarge, with some answers, quotas and values of the file changed."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))

    def run(
        answers: Answers | None = None,
        quotas: dict[str, float | None] | None = None,
        machine: str = "type: g5.xlarge, fallbacks: [g6.xlarge]",
        placement: KnownPlacement | None = None,
        **values: Any,
    ) -> list[Finding]:
        reported, limits = GOOD | (answers or {}), QUOTAS | (quotas or {})
        monkeypatch.setattr(client, "client", lambda *which: canned_aws.CannedAws(reported, limits, *which))
        return findings(config(machine, **values), "prod", placement)

    return run
