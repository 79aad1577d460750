"""Machines on GCP: network, firewall, hosts with disks and addresses, a bucket, and what ends them.

`deploy` is what the Pulumi program calls. What asks GCP outside the engine (preflight, leftovers) needs no Pulumi.
"""

from typing import TYPE_CHECKING

from infra.automation.loading import no_garbage

if TYPE_CHECKING:
    from infra.config import DeploymentConfig
    from infra.contract.deployment import Deployment
    from infra.contract.stack_placement import KnownPlacement


def deploy(config: "DeploymentConfig", placement: "KnownPlacement") -> "Deployment":
    """Declare what the config asks for, where the lease says."""
    # Imported here, so that commands that only look at GCP start without the second that the SDK takes.
    with no_garbage():
        from infra.clouds.gcp.program.program import deploy_stack
    return deploy_stack(config, placement)
