"""The whole of one stack's config: where, on what, behind which door, for how long, serving what."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from core.frozen import Frozen
from infra.config.lifetime import LifetimeSpec
from infra.config.machine import MachineSpec
from infra.config.network import NetworkSpec
from infra.config.storage import StorageSpec
from serving.spec import GatewaySpec, ServingSpec


class DeploymentConfig(Frozen):
    """What `stacks/Pulumi.<stack>.yaml` holds under `llm-deploy:deployment`."""

    cloud: Literal["local", "aws", "gcp", "existing"] = Field(
        description="local: a machine on this computer; aws, gcp: virtual machines; existing: hosts of an inventory."
    )
    region: str | None = Field(default=None, description="Region, e.g. ap-northeast-2 (aws) or asia-northeast3 (gcp).")
    zones: tuple[str, ...] = Field(
        default=(), description="Zones in the order they are tried, e.g. ap-northeast-2a; none: all of the region."
    )
    project: str | None = Field(default=None, description="GCP project id; never taken from whoever is logged in.")
    account: str | None = Field(
        default=None, description="AWS account id; a login to another account is refused. None: any."
    )
    inventory: Path | None = Field(default=None, description="Inventory file with the hosts of cloud existing.")
    machine: MachineSpec = Field(default=MachineSpec(), description="The machines that are made.")
    network: NetworkSpec = Field(default=NetworkSpec(), description="Network and who may reach the machines.")
    storage: StorageSpec = Field(default=StorageSpec(), description="Disks and bucket.")
    lifetime: LifetimeSpec = Field(default=LifetimeSpec(), description="When machines end or sleep.")
    tags: dict[str, str] = Field(default={}, description="Tags (aws) or labels (gcp) on everything that is made.")
    serving: ServingSpec = Field(description="Engine, base model and adapters.")
    gateway: GatewaySpec = Field(default=GatewaySpec(), description="TLS, keys and queue in front of the engine.")
