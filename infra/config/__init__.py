"""The config of one stack as a frozen, checked value. Calls no cloud, reads no secret, does not import Pulumi."""

from infra.config.models.deployment import DeploymentConfig
from infra.config.reader import load_stack, parse_deployment

__all__ = ["DeploymentConfig", "load_stack", "parse_deployment"]
