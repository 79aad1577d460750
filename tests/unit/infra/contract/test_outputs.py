"""Outputs of a stack as provisioning reads them."""

from infra.contract.outputs import StackOutputs
from tests.unit.provisioning.records import host, host_values, stack_values

PLACEMENT = {
    "id": "0123abcd",
    "region": "ap-northeast-2",
    "began_at": "2026-11-21T12:00:00Z",
    "image_name": "ubuntu-24.04",
    "image": "ami-0a24040000000000a",
    "machine_type": "m6i.2xlarge",
    "zone": "ap-northeast-2a",
    "zones": ("ap-northeast-2a",),
}


def test_other_hosts_connect_to_the_private_address_if_there_is_one() -> None:
    assert host(address="203.0.113.7").peer_address == "203.0.113.7"
    assert host(address="203.0.113.7", private_address="10.0.0.4").peer_address == "10.0.0.4"


def test_reads_the_outputs_of_an_older_stack() -> None:
    """Stacks made before 0.2.0 export their placement as `lease`, and their hosts must stay reachable."""
    values = stack_values(host_values())
    assert StackOutputs.model_validate(values | {"lease": PLACEMENT}) == StackOutputs.model_validate(
        values | {"placement": PLACEMENT}
    )
