"""Machines on AWS: network, firewall, hosts with disks and addresses, a bucket, and what ends them.

`deploy` is what the Pulumi program calls. What asks AWS outside the engine (preflight, leftovers) needs no Pulumi.
"""

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.config import DeploymentConfig
    from infra.deployment import Deployment


def deploy(config: "DeploymentConfig") -> "Deployment":
    """Declare what the config asks for."""
    # Imported here, so that commands that only look at AWS start without the two seconds that the SDK takes. It makes a
    # million objects that all stay: looking for garbage among them would take a sixth of that.
    gc.disable()
    from infra.aws.program import deploy_stack

    gc.enable()
    return deploy_stack(config)
