"""The whole config of one stack: cloud, machines, network, lifetime, serving, gateway.

`infra/config/checks.py` makes one and applies the rules that join its sections.
"""

from pathlib import Path

from pydantic import Field

from catalog.clouds import RENTED, CloudName
from core.reading.frozen import Frozen
from infra.config.models.gateway import GatewayConfig
from infra.config.models.iam import IamSpec
from infra.config.models.lifetime import LifetimeSpec
from infra.config.models.machine import MachineSpec
from infra.config.models.network import NetworkSpec
from infra.config.models.pool import SERVING_EXAMPLE, PoolSpec
from infra.config.models.proxy import ProxySpec
from infra.config.models.storage import StorageSpec
from serving.spec.models import ServingSpec
from serving.spec.pool_name import MAIN, PoolName


class DeploymentConfig(Frozen):
    """The mapping under `llm-deploy:deployment` in `stacks/Pulumi.<stack>.yaml`."""

    cloud: CloudName = Field(
        description="local: a machine on this computer; aws, gcp: virtual machines; existing: hosts of an inventory."
    )
    region: str | None = Field(default=None, description="Region, e.g. ap-northeast-2 (aws) or asia-northeast3 (gcp).")
    zones: tuple[str, ...] = Field(
        default=(), description="Zones, tried in this order, e.g. ap-northeast-2a. If empty, all zones of the region."
    )
    project: str | None = Field(default=None, description="GCP project id. It is never taken from your login.")
    account: str | None = Field(
        default=None,
        description="AWS account id. A login to another account is refused. Default: the account of the first `up`.",
    )
    inventory: Path | None = Field(default=None, description="Inventory file with the hosts of cloud existing.")
    machine: MachineSpec = Field(default=MachineSpec(), description="The machines to create.")
    network: NetworkSpec = Field(default=NetworkSpec(), description="Network, and who may reach the machines.")
    storage: StorageSpec = Field(default=StorageSpec(), description="Disks and bucket.")
    iam: IamSpec = Field(default=IamSpec(), description="Limits of the IAM roles that are created.")
    proxy: ProxySpec | None = Field(
        default=None, description="Proxy through which the hosts reach the internet. If missing, they connect directly."
    )
    lifetime: LifetimeSpec = Field(default=LifetimeSpec(), description="When machines are terminated or stopped.")
    tags: dict[str, str] = Field(default={}, description="Tags (aws) or labels (gcp) on every created resource.")
    serving: ServingSpec = Field(description="Engine, base model and adapters.", examples=[SERVING_EXAMPLE])
    pools: dict[PoolName, PoolSpec] = Field(
        default={},
        description="More pools by their name, each with machines that serve another base model; they need "
        "gateway.machine. `machine` and `serving` describe the pool main.",
    )
    gateway: GatewayConfig = Field(default=GatewayConfig(), description="TLS, keys and queue in front of the engine.")

    @property
    def host_count(self) -> int:
        """Number of machines of all pools, with the gateway's own machine if there is one."""
        return sum(machine.count for machine in self.machines.values()) + (self.gateway.machine is not None)

    @property
    def machines(self) -> dict[str, MachineSpec]:
        """The machines of each pool, main first."""
        return {MAIN: self.machine, **{name: pool.machine for name, pool in self.pools.items()}}

    def of_pool(self, name: str) -> "DeploymentConfig":
        """Return the config as if `name`, one of `pools`, were the pool main and the only one."""
        pool = self.pools[name]
        view = self.model_copy(update={"machine": pool.machine, "serving": pool.serving, "pools": {}})
        if "machine" not in pool.model_fields_set:
            view.model_fields_set.discard("machine")
        return view

    @property
    def by_pool(self) -> "dict[str, DeploymentConfig]":
        """The config of each pool as `of_pool` returns it, main first: this config itself."""
        return {MAIN: self, **{name: self.of_pool(name) for name in self.pools}}

    @property
    def has_spot(self) -> bool:
        """Whether a pool has machines of the spot market."""
        return any(machine.market == "spot" for machine in self.machines.values())

    @property
    def ttl_hours(self) -> float | None:
        """Hours until the machines terminate themselves; None in a cloud that does not charge by the hour."""
        return self.lifetime.ttl_hours if self.cloud in RENTED else None
