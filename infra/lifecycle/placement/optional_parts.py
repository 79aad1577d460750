"""Parts that only some stacks have, noted in the placement: `down` needs no permission to look for the others."""

from infra.config import DeploymentConfig
from infra.contract.stack_placement import Placement


def parts_of(config: DeploymentConfig) -> set[str]:
    """Return the parts that a stack file asks for."""
    bucket, wanted = config.storage.bucket, set[str]()
    if bucket is not None and bucket.name is None:
        wanted.add("bucket")
    if config.lifetime.budget is not None:
        wanted.add("budget")
    if config.lifetime.weekly is not None:
        wanted.add("weekly")
    if config.has_spot:
        wanted.add("spot")
    if config.network.id is None:
        wanted.add("network")
    return wanted


def all_parts(config: DeploymentConfig, previous: Placement | None) -> tuple[str, ...] | None:
    """Return the parts that a stack may have after an `up`: those of the file, and those of earlier files.

    None: not known, because an older release wrote the placement, and noted no parts.
    """
    if previous is None:
        return tuple(sorted(parts_of(config)))
    return None if previous.parts is None else tuple(sorted({*previous.parts, *parts_of(config)}))
