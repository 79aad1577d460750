"""How large a stack's disks are. Sizes in GiB."""

import math

from infra.capacity.memory_need import disk_gib
from infra.clouds.gcp.placing.disk_speed import least_gib
from infra.config import DeploymentConfig
from infra.config.rules.capacity import DATA_HEADROOM_GIB

UNKNOWN_MODEL_GIB = 50
"""Data volume for a model whose name tells no size."""

SMALLEST_DATA_GIB = 20


def data_gib(config: DeploymentConfig) -> int:
    """Return the size of the data volume: what the stack file says, else weights twice (a new version is fetched while
    the old one serves) and room beside them; more where a disk is only so as fast as the start needs.
    """
    if config.storage.data_gib is not None:
        return config.storage.data_gib
    weights = disk_gib(config.serving)
    if weights is None:
        return UNKNOWN_MODEL_GIB
    return max(SMALLEST_DATA_GIB, math.ceil(2 * weights + DATA_HEADROOM_GIB), least_gib(config))
