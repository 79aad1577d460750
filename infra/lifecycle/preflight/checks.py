"""Finds problems in a cloud before anything is created. Reports all of them at once, each with what to do.

Changes nothing. The checks of a cloud are in its own folder.
"""

from catalog.clouds import RENTED
from core.errors import DeployError
from infra.clouds.candidates import lies_elsewhere
from infra.clouds.finding import Finding
from infra.clouds.registry import ready_cloud
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement


def findings(config: DeploymentConfig, stack: str, placement: KnownPlacement | None) -> list[Finding]:
    """Return the findings. Empty if the stack is not on AWS or GCP. Raises UsageError without a valid login."""
    if config.cloud not in RENTED:
        return []
    cloud = ready_cloud(config.cloud)
    if placement is not None and not placement.is_complete and lies_elsewhere(config, placement):
        placement = None  # `up` removes what it created there, and starts here
    return cloud.findings(config, stack, placement)


def refuse(found: list[Finding], stack: str) -> None:
    """Raise DeployError with all errors, if there are any."""
    errors = [each for each in found if each.level == "error"]
    where = f"preflight of stack {stack}"
    if len(errors) == 1:
        raise DeployError(f"{errors[0].about}: {errors[0].what}", where=where, hint=errors[0].hint)
    if errors:
        detail = "\n".join(f"  {each}" for each in errors)
        raise DeployError(f"{len(errors)} things are wrong", where=where, detail=detail)
