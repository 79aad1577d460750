"""Machines on AWS: network, firewall, hosts with disks and addresses, a bucket, and what ends them.

`deploy` is what the Pulumi program calls. What asks AWS outside the engine (preflight, leftovers) needs no Pulumi.
"""

from typing import TYPE_CHECKING

from infra.automation.loading import no_garbage

if TYPE_CHECKING:
    from infra.config import DeploymentConfig
    from infra.contract.deployment import Deployment
    from infra.contract.stack_placement import KnownPlacement


def deploy(config: "DeploymentConfig", placement: "KnownPlacement") -> "Deployment":
    """Declare what the config asks for, where the lease says."""
    # Imported here, so that commands that only look at AWS start without the second that the SDK takes.
    with no_garbage():
        from infra.clouds.aws.program.program import deploy_stack
    return deploy_stack(config, placement)
