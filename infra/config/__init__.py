"""The config of one stack as a frozen, checked value. Calls no cloud, reads no secret, does not import Pulumi."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infra.config.models.deployment import DeploymentConfig
    from infra.config.reader import load_stack, parse_deployment

__all__ = ["DeploymentConfig", "load_stack", "parse_deployment"]


def __getattr__(name: str) -> Any:
    """Import the config on first use: provisioning needs only one of its models."""
    if name not in __all__:
        raise AttributeError(name)
    from infra.config import reader
    from infra.config.models import deployment

    return getattr(deployment if name == "DeploymentConfig" else reader, name)
