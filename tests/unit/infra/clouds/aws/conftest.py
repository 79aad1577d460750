"""The program of cloud `aws`, run without the Pulumi engine."""

from typing import Any

import pulumi
import pytest

from infra.clouds.program.guards import Guards
from infra.config import DeploymentConfig, parse_deployment
from infra.contract.stack_placement import KnownPlacement
from tests.doubles.aws.table import KINDS
from tests.doubles.provider.mocks import TableMocks, run_program
from tests.engine.aws_stacks import stack_value
from tests.unit.infra.clouds.aws.deployed import Deployed


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Deployed:
    """Run the program on a stack file's values and return what it registered."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    # Transforms need the engine, which does not run here. Each resource passes the same function here.
    monkeypatch.setattr(Guards, "install", lambda *_arguments: None)

    def run(machine: str = "type: m6i.2xlarge", **placement: Any) -> TableMocks:
        values: dict[str, Any] = {
            "id": "0123abcd",
            "region": "ap-northeast-2",
            "began_at": "2026-11-21T12:00:00Z",
            "image_name": "ubuntu-24.04",
            "image": "ami-0a24040000000000a",
            "machine_type": "m6i.2xlarge",
            "zone": "ap-northeast-2a",
            "zones": ("ap-northeast-2a", "ap-northeast-2b"),
        }
        more, lifetime, stack = placement.pop("more", ""), placement.pop("lifetime", ""), placement.pop("stack", "prod")
        config: DeploymentConfig | None = placement.pop("config", None)
        blank_at = placement.pop("blank_at", "")
        progress = {"blank_at": blank_at} if blank_at else None
        hosts: list[Any] = placement.pop("hosts", [])
        placed = KnownPlacement.model_validate(values | placement | {"progress": progress})
        mocks = TableMocks(KINDS)
        from infra.clouds.aws.cloud import CLOUD

        def program() -> None:
            value = stack_value(machine, lifetime=lifetime, more=more)
            deployment = CLOUD.deploy(config or parse_deployment(value, "a test"), lambda: placed)
            pulumi.Output.from_input(deployment.hosts).apply(hosts.extend)

        run_program(program, mocks, stack=stack)
        return mocks

    return run
