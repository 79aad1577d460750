"""What would go wrong in a rented cloud, found before anything is made: all of it at once, each with what to do.

Changes nothing. Each cloud has a module here with `findings(config, stack, lease)`.
"""

import importlib

from core.errors import DeployError
from infra.automation.sdk import ensure_sdk
from infra.clouds.candidates import lies_elsewhere
from infra.clouds.finding import Finding
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement

CLOUDS = {"aws": "infra.clouds.aws.preflight.checks", "gcp": "infra.clouds.gcp.preflight.checks"}
"""The module of each rented cloud."""


def findings(config: DeploymentConfig, stack: str, placement: KnownPlacement | None) -> list[Finding]:
    """Return what was found; empty for clouds where nothing is rented. Raises UsageError without a valid login."""
    if config.cloud not in CLOUDS:
        return []
    ensure_sdk(config.cloud)
    if placement is not None and not placement.is_complete and lies_elsewhere(config, placement):
        placement = None  # `up` removes what it left there, and begins here
    found: list[Finding] = importlib.import_module(CLOUDS[config.cloud]).findings(config, stack, placement)
    return found


def refuse(found: list[Finding], stack: str) -> None:
    """Raise DeployError with all errors; nothing happens when there are none."""
    errors = [each for each in found if each.level == "error"]
    where = f"preflight of stack {stack}"
    if len(errors) == 1:
        raise DeployError(f"{errors[0].about}: {errors[0].what}", where=where, hint=errors[0].hint)
    if errors:
        detail = "\n".join(f"  {each}" for each in errors)
        raise DeployError(f"{len(errors)} things are wrong", where=where, detail=detail)
