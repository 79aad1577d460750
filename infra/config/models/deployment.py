"""The whole config of one stack: cloud, machines, network, lifetime, and what is served.

`infra/config/checks.py` makes one and applies the rules that join its sections.
"""

from pathlib import Path

from pydantic import Field

from catalog.clouds import RENTED, CloudName
from core.frozen import Frozen
from infra.config.models.iam import IamSpec
from infra.config.models.lifetime import LifetimeSpec
from infra.config.models.machine import MachineSpec
from infra.config.models.network import NetworkSpec
from infra.config.models.proxy import ProxySpec
from infra.config.models.storage import StorageSpec
from serving.spec.models import GatewaySpec, ServingSpec


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

    @property
    def ttl_hours(self) -> float | None:
        """Hours until the machines end themselves; none where nobody pays for them by the hour."""
        return self.lifetime.ttl_hours if self.cloud in RENTED else None
