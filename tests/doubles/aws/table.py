"""All kinds and functions of the AWS double."""

from tests.doubles.aws.client import Aws
from tests.doubles.aws.kinds import firewall, network, route
from tests.doubles.provider.kind import Function, Kind

KINDS: tuple[Kind[Aws], ...] = (
    network.Vpc(),
    network.Subnet(),
    network.InternetGateway(),
    network.RouteTable(),
    network.VpcEndpoint(),
    route.Route(),
    route.RouteTableAssociation(),
    firewall.SecurityGroup(),
    firewall.DefaultSecurityGroup(),
    firewall.IngressRule(),
    firewall.EgressRule(),
)

FUNCTIONS: tuple[Function[Aws], ...] = ()
