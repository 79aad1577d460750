"""Where the machines are connected, and who may reach them."""

from typing import Self

from pydantic import Field, StrictBool, model_validator

from core.frozen import Frozen
from core.rules import refuse, twice
from infra.config.models.cidr import ClientCidr, OwnCidr, SshCidr


class NetworkSpec(Frozen):
    """An own network by default, or an existing one by id; two doors, SSH and the gateway."""

    id: str | None = Field(
        default=None, description="Existing network: vpc-… (aws) or its name (gcp); none: one is made."
    )
    subnets: tuple[str, ...] = Field(
        default=(), description="Subnets of the existing network: subnet-… (aws) or names (gcp)."
    )
    cidr: OwnCidr = Field(
        default="10.83.0.0/16",
        description="Address range of the network that is made, private, /16 to /24; on AWS a /24 takes 11 machines.",
    )
    ssh_cidrs: tuple[SshCidr, ...] = Field(
        default=(), description="Networks that may reach port 22, e.g. 203.0.113.7/32. Never the whole world."
    )
    client_cidrs: tuple[ClientCidr, ...] = Field(
        default=(), description="Networks that may reach the gateway, e.g. 203.0.113.0/24."
    )
    clients_from_anywhere: StrictBool = Field(
        default=False, description="Let the whole world reach the gateway; its keys are then the only guard."
    )

    @model_validator(mode="after")
    def _no_range_twice(self) -> Self:
        refuse((*twice(self.ssh_cidrs, "ssh_cidrs"), *twice(self.client_cidrs, "client_cidrs")))
        return self
