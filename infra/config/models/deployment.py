"""The whole of one stack's config: where, on what, behind which door, for how long, serving what."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, model_validator

from catalog.clouds import RENTED, CloudName
from core.frozen import Frozen
from core.rules import refuse
from infra.config.models.lifetime import LifetimeSpec
from infra.config.models.machine import MachineSpec
from infra.config.models.network import NetworkSpec
from infra.config.models.proxy import ProxySpec
from infra.config.models.storage import StorageSpec
from infra.config.rules.bucket_sources import BUCKET_RULES
from infra.config.rules.capacity import FIT_RULES
from infra.config.rules.cloud_keys import keys_belong, needed_keys_are_there, strangers_with_errors
from infra.config.rules.iam import IAM_RULES, IamSpec
from infra.config.rules.location import PLACEMENT_RULES
from infra.config.rules.network_limits import NETWORK_RULES
from infra.config.rules.spot_and_access import UPKEEP_RULES
from infra.config.rules.tags import TAG_RULES
from serving.spec.models import GatewaySpec, ServingSpec
from serving.spec.rules import ports_differ

RULES = (
    keys_belong,
    needed_keys_are_there,
    *PLACEMENT_RULES,
    *NETWORK_RULES,
    *FIT_RULES,
    *UPKEEP_RULES,
    *TAG_RULES,
    *IAM_RULES,
    *BUCKET_RULES,
)
"""Rules over more than one section; those within a section are in its model."""


class DeploymentConfig(Frozen):
    """What `stacks/Pulumi.<stack>.yaml` holds under `llm-deploy:deployment`."""

    cloud: CloudName = Field(
        description="local: a machine on this computer; aws, gcp: virtual machines; existing: hosts of an inventory."
    )
    region: str | None = Field(default=None, description="Region, e.g. ap-northeast-2 (aws) or asia-northeast3 (gcp).")
    zones: tuple[str, ...] = Field(
        default=(), description="Zones in the order they are tried, e.g. ap-northeast-2a; none: all of the region."
    )
    project: str | None = Field(default=None, description="GCP project id; never taken from whoever is logged in.")
    account: str | None = Field(
        default=None, description="AWS account id; a login to another account is refused. None: that of the first `up`."
    )
    inventory: Path | None = Field(default=None, description="Inventory file with the hosts of cloud existing.")
    machine: MachineSpec = Field(default=MachineSpec(), description="The machines that are made.")
    network: NetworkSpec = Field(default=NetworkSpec(), description="Network and who may reach the machines.")
    storage: StorageSpec = Field(default=StorageSpec(), description="Disks and bucket.")
    iam: IamSpec = Field(default=IamSpec(), description="What the IAM roles that are made must keep to.")
    proxy: ProxySpec | None = Field(
        default=None, description="Proxy through which the hosts reach the world; none: directly."
    )
    lifetime: LifetimeSpec = Field(default=LifetimeSpec(), description="When machines end or sleep.")
    tags: dict[str, str] = Field(default={}, description="Tags (aws) or labels (gcp) on everything that is made.")
    serving: ServingSpec = Field(description="Engine, base model and adapters.")
    gateway: GatewaySpec = Field(default=GatewaySpec(), description="TLS, keys and queue in front of the engine.")

    @model_validator(mode="wrap")
    @classmethod
    def _cloud_first(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            refuse(strangers_with_errors(value, [each["loc"] for each in error.errors(include_url=False)]))
            raise

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        refuse(
            (
                *(problem for rule in RULES for problem in rule(self)),
                *ports_differ(self.serving, self.gateway),
            )
        )
        return self

    @property
    def ttl_hours(self) -> float | None:
        """Hours until the machines end themselves; none where nobody pays for them by the hour."""
        return self.lifetime.ttl_hours if self.cloud in RENTED else None
