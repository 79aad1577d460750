"""One stack's config as a frozen, checked value. Asks no cloud, reads no secret, imports no Pulumi."""

from infra.config.models.deployment import DeploymentConfig
from infra.config.reader import load_stack, parse_deployment

__all__ = ["DeploymentConfig", "load_stack", "parse_deployment"]
