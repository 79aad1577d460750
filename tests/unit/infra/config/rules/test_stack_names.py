"""Names of pools: with the stack's name, they fit into the names of machines and of disks on GCP."""

import pytest

from infra.config import DeploymentConfig, parse_deployment
from infra.config.rules.stack_names import stack_name_fits
from tests.engine import aws_stacks, gcp_stacks
from tests.unit.infra.clouds.pools import behind, served


def config(cloud: str, pool: str) -> DeploymentConfig:
    if cloud == "local":
        value = behind(**{pool: {"memory_gib": 6, "count": 10}}) | {"gateway": {"machine": {}, "max_concurrency": 4}}
        return parse_deployment(value | {"cloud": "local", "serving": served("small")}, "a test")
    stacks, machine = (aws_stacks, "m6i.2xlarge") if cloud == "aws" else (gcp_stacks, "e2-standard-8")
    value = stacks.stack_value(f"type: {machine}")
    return parse_deployment(value | behind(**{pool: {"type": machine, "count": 10}}), "a test")


@pytest.mark.parametrize(
    ("cloud", "stack", "pool", "hint"),
    [
        pytest.param("aws", "s" * 27, "p" * 32, "", id="63 characters"),
        pytest.param("aws", "s" * 28, "p" * 32, "write at most 31 characters, or give the stack a", id="64"),
        pytest.param("local", "s" * 27, "p" * 32, "", id="63 on this computer"),
        pytest.param("local", "s" * 28, "p" * 32, "write at most 31 characters, or give the stack a", id="64 there"),
        pytest.param("gcp", "s" * 9, "p" * 32, "", id="a data disk with 63"),
        pytest.param("gcp", "s" * 10, "p" * 32, "write at most 31 characters, or give the stack a", id="with 64"),
        pytest.param("gcp", "s" * 40, "p" * 2, "write at most 1 characters, or give the stack a", id="a long stack"),
    ],
)
def test_the_names_of_a_pool_s_machines_fit(cloud: str, stack: str, pool: str, hint: str) -> None:
    found = [(each.key, each.hint) for each in stack_name_fits(config(cloud, pool), stack)]

    assert found == ([(f"pools.{pool}", f"{hint} shorter name")] if hint else [])
    longest = f"llm-{stack}-0123abcd-{pool}-10-data" if cloud == "gcp" else f"{stack}-{pool}-10"
    assert (len(longest) > 63) is bool(hint)
