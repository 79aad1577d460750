"""How large a stack's disks are. Sizes in GiB."""

import math

from infra.capacity.memory_need import disk_gib
from infra.clouds.registry import cloud_of
from infra.config import DeploymentConfig
from infra.config.rules.capacity import DATA_HEADROOM_GIB
from infra.config.rules.location import IMAGES

UNKNOWN_MODEL_GIB = 50
"""Data volume for a model whose name does not give its size."""

SMALLEST_DATA_GIB = 20

GATEWAY_ROOT_GIB = 30
"""Root disk of the gateway's own machine, which has no data volume: system, programs, logs and metrics."""


def data_gib(config: DeploymentConfig) -> int:
    """Return the size of the data volume: `storage.data_gib`, else twice the weights plus headroom.

    Twice, because a new version is fetched while the old one serves. More if the cloud's disks are faster the larger
    they are, and the engine's start needs the speed.
    """
    if config.storage.data_gib is not None:
        return config.storage.data_gib
    weights = disk_gib(config.serving)
    if weights is None:
        return UNKNOWN_MODEL_GIB
    return max(
        SMALLEST_DATA_GIB, math.ceil(2 * weights + DATA_HEADROOM_GIB), cloud_of(config.cloud).least_data_gib(config)
    )


def gateway_root_gib(config: DeploymentConfig) -> int:
    """Return the size of the root disk of the gateway's own machine.

    An image that the file names by its id may need more: then it is as large as the file makes those of all machines.
    """
    is_ours = config.machine.image is None or config.machine.image in IMAGES[config.cloud]
    return GATEWAY_ROOT_GIB if is_ours else config.storage.root_gib
