"""The only place that makes a DeploymentConfig: the models first, then every rule that joins several sections.

Reads no file and calls no cloud.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from core.reading.words import error_of, words
from infra.config.models.deployment import DeploymentConfig
from infra.config.rules.bucket_sources import BUCKET_RULES
from infra.config.rules.capacity import CAPACITY_RULES
from infra.config.rules.cloud_keys import keys_belong, keys_of_other_clouds, needed_keys_are_there, refused_keys
from infra.config.rules.gateway_machine import GATEWAY_MACHINE_RULES
from infra.config.rules.iam import IAM_RULES
from infra.config.rules.location import LOCATION_RULES
from infra.config.rules.network_limits import NETWORK_RULES
from infra.config.rules.overflow import OVERFLOW_RULES
from infra.config.rules.pools import POOLS_RULES
from infra.config.rules.spot_and_access import SPOT_AND_ACCESS_RULES
from infra.config.rules.tags import TAG_RULES

RULES = (
    keys_belong,
    needed_keys_are_there,
    *LOCATION_RULES,
    *NETWORK_RULES,
    *CAPACITY_RULES,
    *SPOT_AND_ACCESS_RULES,
    *GATEWAY_MACHINE_RULES,
    *OVERFLOW_RULES,
    *TAG_RULES,
    *IAM_RULES,
    *BUCKET_RULES,
    *POOLS_RULES,
)
"""Rules that join several sections. A rule within one section is in its model."""


def checked(value: Mapping[str, Any], where: str) -> DeploymentConfig:
    """Return `value` as a config that follows every rule. Raises ConfigError that names `where`, the file."""
    try:
        config = DeploymentConfig.model_validate(value)
    except ValidationError as error:
        unused = list(keys_of_other_clouds(value, [each["loc"] for each in error.errors(include_url=False)]))
        refused = refused_keys(value)
        raise (error_of(unused, where) if unused else words(error, where, DeploymentConfig, refused)) from None
    problems = [problem for rule in RULES for problem in rule(config)]
    if problems:
        raise error_of(problems, where)
    return config
