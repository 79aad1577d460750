"""A route, and the association of a route table with a subnet: both are parts of a route table."""

from tests.doubles.aws.client import Aws
from tests.doubles.aws.kinds.network import table_of
from tests.doubles.provider.kind import Kind, Rules
from tests.doubles.provider.values import Properties


class Route(Kind[Aws]):
    token = "aws:ec2/route:Route"
    rules = Rules(immutable=frozenset({"routeTableId", "destinationCidrBlock", "destinationIpv6CidrBlock", "region"}))

    def create(self, cloud: Aws, inputs: Properties) -> str:
        cloud.call(
            "ec2",
            "create_route",
            "creating Route",
            RouteTableId=inputs["routeTableId"],
            GatewayId=inputs["gatewayId"],
            **_destination(inputs),
        )
        return f"r-{inputs['routeTableId']}-{next(iter(_destination(inputs).values()))}"

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        table = table_of(cloud, state["routeTableId"])
        wanted = _destination(state).items()
        for route in table["Routes"] if table else ():
            if wanted <= route.items():
                return {"gatewayId": route.get("GatewayId", ""), "state": route.get("State", "active")}
        return None

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        gone = ["InvalidRoute.NotFound", "InvalidRouteTableID.NotFound"]
        cloud.found("ec2", "delete_route", gone, RouteTableId=state["routeTableId"], **_destination(state))


class RouteTableAssociation(Kind[Aws]):
    token = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    rules = Rules(immutable=frozenset({"subnetId", "routeTableId", "gatewayId", "region"}))

    def create(self, cloud: Aws, inputs: Properties) -> str:
        target = {"RouteTableId": inputs["routeTableId"], "SubnetId": inputs["subnetId"]}
        made = cloud.call("ec2", "associate_route_table", "creating Route Table Association", **target)
        return str(made["AssociationId"])

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        table = table_of(cloud, state["routeTableId"])
        for each in table["Associations"] if table else ():
            if each["RouteTableAssociationId"] == identity:
                return {"subnetId": each["SubnetId"]}
        return None

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        gone = ["InvalidAssociationID.NotFound"]
        cloud.found("ec2", "disassociate_route_table", gone, AssociationId=identity)


def _destination(inputs: Properties) -> dict[str, str]:
    if inputs.get("destinationIpv6CidrBlock"):
        return {"DestinationIpv6CidrBlock": inputs["destinationIpv6CidrBlock"]}
    return {"DestinationCidrBlock": inputs["destinationCidrBlock"]}
