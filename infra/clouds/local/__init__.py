"""Machines on this Linux host: systemd-nspawn containers with their own network, limits and SSH door.

`infra.clouds.local.machine` works without Pulumi; `deploy` is what the Pulumi program calls.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.config import DeploymentConfig
    from infra.contract.deployment import Deployment


def deploy(config: "DeploymentConfig") -> "Deployment":
    """Declare the machines that the config asks for."""
    # Imported here, so that commands that only look at machines start without Pulumi's half second.
    from infra.clouds.local.deploy import deploy_machines

    return deploy_machines(config)
