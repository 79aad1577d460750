"""Where the machines are connected, and who may reach them."""

from typing import Self

from pydantic import Field, StrictBool, model_validator

from core.reading.frozen import Frozen
from core.reading.rules import refuse, twice
from infra.config.models.cidr import ClientCidr, OwnCidr, SshCidr


class NetworkSpec(Frozen):
    """A new network, or an existing one by id. Only SSH and the gateway can be reached."""

    id: str | None = Field(
        default=None, description="Existing network: vpc-… (aws) or its name (gcp). Default: a new network."
    )
    subnets: tuple[str, ...] = Field(
        default=(), description="Subnets of the existing network: subnet-… (aws) or names (gcp)."
    )
    cidr: OwnCidr = Field(
        default="10.83.0.0/16",
        description="Private address range of the new network, /16 to /24. On AWS a /24 has room for 11 machines.",
    )
    ssh_cidrs: tuple[SshCidr, ...] = Field(
        default=(), description="Networks that may reach port 22, e.g. 203.0.113.7/32; never the whole internet."
    )
    client_cidrs: tuple[ClientCidr, ...] = Field(
        default=(), description="Networks that may reach the gateway, e.g. 203.0.113.0/24."
    )
    clients_from_anywhere: StrictBool = Field(
        default=False, description="Let the whole internet reach the gateway. Only its API keys then protect it."
    )

    @model_validator(mode="after")
    def _no_range_twice(self) -> Self:
        refuse((*twice(self.ssh_cidrs, "ssh_cidrs"), *twice(self.client_cidrs, "client_cidrs")))
        return self
