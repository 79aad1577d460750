"""A machine that serves: base role, vLLM with two adapters, gateway. Provisioned once, as it takes minutes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.contract.outputs import StackOutputs
from provisioning.apply.desired_state import desired_state
from provisioning.roles import ROLES
from tests.machine.built_environments import bring_environments, keep_environments
from tests.machine.converge_host import bring
from tests.machine.machines import making_machines, one_thread
from tests.machine.served import SERVING, Served
from tests.unit.provisioning.records import stack

SERVED_MIB = 6144


@pytest.fixture(scope="session")
def served_machine(machine_state: Path) -> Iterator[Served]:
    """One served machine for the whole run; a test that changes it restores the state of `wishes_for`."""
    with pytest.MonkeyPatch.context() as patch, making_machines(machine_state) as make:
        patch.setenv("LLM_DEPLOY_STATE", str(machine_state))
        host = one_thread(make("served", memory_mib=SERVED_MIB))
        outputs: StackOutputs = stack(serving=SERVING).model_copy(update={"hosts": (host,)})
        resources = list(desired_state(outputs, [host], ROLES).lists[host.name])
        bring_environments(host, resources)
        first = bring(host, resources)
        assert first.result.ok, [(failed.id, failed.error, failed.detail) for failed in first.result.failed]
        keep_environments(host, resources)
        yield Served(host, outputs, resources)
