"""VPC, subnet, gateway, routes, endpoint."""

from typing import Any

from tests.doubles.aws.client import Aws, retag, settled, tag_map, tag_specifications
from tests.doubles.provider.kind import CloudError, Kind, Rules
from tests.doubles.provider.values import Properties

IPV6_ASSOCIATED = "associated"


class Vpc(Kind[Aws]):
    token = "aws:ec2/vpc:Vpc"
    rules = Rules(immutable=frozenset({"cidrBlock", "instanceTenancy", "region"}))

    def create(self, cloud: Aws, inputs: Properties) -> str:
        made = cloud.call(
            "ec2",
            "create_vpc",
            "creating EC2 VPC",
            CidrBlock=inputs["cidrBlock"],
            AmazonProvidedIpv6CidrBlock=inputs.get("assignGeneratedIpv6CidrBlock", False),
            TagSpecifications=tag_specifications("vpc", inputs.get("tags")),
        )
        identity = str(made["Vpc"]["VpcId"])
        self._set_names(cloud, identity, inputs)
        return identity

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found("ec2", "describe_vpcs", ["InvalidVpcID.NotFound"], VpcIds=[identity])
        if seen is None:
            return None
        vpc = seen["Vpcs"][0]
        own = [{"Name": "vpc-id", "Values": [identity]}]
        groups = cloud.call("ec2", "describe_security_groups", "reading", Filters=own)["SecurityGroups"]
        six = [
            each["Ipv6CidrBlock"]
            for each in vpc.get("Ipv6CidrBlockAssociationSet", [])
            if each["Ipv6CidrBlockState"]["State"] == IPV6_ASSOCIATED
        ]
        return {
            "arn": f"arn:aws:ec2:{cloud.region}:{cloud.account}:vpc/{identity}",
            "cidrBlock": vpc["CidrBlock"],
            "ipv6CidrBlock": six[0] if six else "",
            "defaultSecurityGroupId": next(each["GroupId"] for each in groups if each["GroupName"] == "default"),
            "tags": tag_map(vpc.get("Tags")),
        }

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        self._set_names(cloud, identity, new)
        retag(cloud, identity, old, new)

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        cloud.found("ec2", "delete_vpc", ["InvalidVpcID.NotFound"], VpcId=identity)

    def _set_names(self, cloud: Aws, identity: str, inputs: Properties) -> None:
        for name, attribute in (("enableDnsSupport", "EnableDnsSupport"), ("enableDnsHostnames", "EnableDnsHostnames")):
            if name in inputs:
                change = {attribute: {"Value": inputs[name]}}
                cloud.call("ec2", "modify_vpc_attribute", "modifying EC2 VPC", VpcId=identity, **change)


class Subnet(Kind[Aws]):
    token = "aws:ec2/subnet:Subnet"
    rules = Rules(immutable=frozenset({"vpcId", "cidrBlock", "availabilityZone", "ipv6CidrBlock", "region"}))

    def create(self, cloud: Aws, inputs: Properties) -> str:
        six = {"Ipv6CidrBlock": inputs["ipv6CidrBlock"]} if inputs.get("ipv6CidrBlock") else {}
        made = cloud.call(
            "ec2",
            "create_subnet",
            "creating EC2 Subnet",
            VpcId=inputs["vpcId"],
            CidrBlock=inputs["cidrBlock"],
            AvailabilityZone=inputs["availabilityZone"],
            TagSpecifications=tag_specifications("subnet", inputs.get("tags")),
            **six,
        )
        identity = str(made["Subnet"]["SubnetId"])
        self._set_addressing(cloud, identity, inputs)
        return identity

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found("ec2", "describe_subnets", ["InvalidSubnetID.NotFound"], SubnetIds=[identity])
        if seen is None:
            return None
        subnet = seen["Subnets"][0]
        return {
            "arn": f"arn:aws:ec2:{cloud.region}:{cloud.account}:subnet/{identity}",
            "vpcId": subnet["VpcId"],
            "cidrBlock": subnet["CidrBlock"],
            "availabilityZone": subnet["AvailabilityZone"],
            "mapPublicIpOnLaunch": subnet["MapPublicIpOnLaunch"],
            "tags": tag_map(subnet.get("Tags")),
        }

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        self._set_addressing(cloud, identity, new)
        retag(cloud, identity, old, new)

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        cloud.found("ec2", "delete_subnet", ["InvalidSubnetID.NotFound"], SubnetId=identity)

    def _set_addressing(self, cloud: Aws, identity: str, inputs: Properties) -> None:
        for name in ("mapPublicIpOnLaunch", "assignIpv6AddressOnCreation"):
            if name in inputs:
                change = {name[0].upper() + name[1:]: {"Value": inputs[name]}}
                cloud.call("ec2", "modify_subnet_attribute", "modifying EC2 Subnet", SubnetId=identity, **change)


class InternetGateway(Kind[Aws]):
    token = "aws:ec2/internetGateway:InternetGateway"
    rules = Rules(immutable=frozenset({"region"}))

    def create(self, cloud: Aws, inputs: Properties) -> str:
        tags = tag_specifications("internet-gateway", inputs.get("tags"))
        made = cloud.call("ec2", "create_internet_gateway", "creating EC2 Internet Gateway", TagSpecifications=tags)
        identity = str(made["InternetGateway"]["InternetGatewayId"])
        if inputs.get("vpcId"):
            cloud.call("ec2", "attach_internet_gateway", "attaching", InternetGatewayId=identity, VpcId=inputs["vpcId"])
        return identity

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        gone = ["InvalidInternetGatewayID.NotFound"]
        seen = cloud.found("ec2", "describe_internet_gateways", gone, InternetGatewayIds=[identity])
        if seen is None:
            return None
        gateway = seen["InternetGateways"][0]
        attached = gateway.get("Attachments") or [{}]
        return {
            "arn": f"arn:aws:ec2:{cloud.region}:{cloud.account}:internet-gateway/{identity}",
            "vpcId": attached[0].get("VpcId", ""),
            "tags": tag_map(gateway.get("Tags")),
        }

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        if old.get("vpcId") != new.get("vpcId"):
            raise CloudError("the double does not move an internet gateway to another network")
        retag(cloud, identity, old, new)

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        gone = ["InvalidInternetGatewayID.NotFound", "Gateway.NotAttached"]
        if state.get("vpcId"):
            target = {"InternetGatewayId": identity, "VpcId": state["vpcId"]}
            cloud.found("ec2", "detach_internet_gateway", gone, **target)
        cloud.found("ec2", "delete_internet_gateway", gone, InternetGatewayId=identity)


class RouteTable(Kind[Aws]):
    token = "aws:ec2/routeTable:RouteTable"
    rules = Rules(immutable=frozenset({"vpcId", "region"}))

    def check(self, inputs: Properties) -> list[tuple[str, str]]:
        return [("routes", "the double models routes as resources of their own only")] if inputs.get("routes") else []

    def create(self, cloud: Aws, inputs: Properties) -> str:
        tags = tag_specifications("route-table", inputs.get("tags"))
        doing = "creating EC2 Route Table"
        made = cloud.call("ec2", "create_route_table", doing, VpcId=inputs["vpcId"], TagSpecifications=tags)
        return str(made["RouteTable"]["RouteTableId"])

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        table = table_of(cloud, identity)
        if table is None:
            return None
        return {
            "arn": f"arn:aws:ec2:{cloud.region}:{cloud.account}:route-table/{identity}",
            "vpcId": table["VpcId"],
            "tags": tag_map(table.get("Tags")),
        }

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        retag(cloud, identity, old, new)

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        cloud.found("ec2", "delete_route_table", ["InvalidRouteTableID.NotFound"], RouteTableId=identity)


class VpcEndpoint(Kind[Aws]):
    token = "aws:ec2/vpcEndpoint:VpcEndpoint"
    rules = Rules(immutable=frozenset({"vpcId", "serviceName", "vpcEndpointType", "region"}))

    def create(self, cloud: Aws, inputs: Properties) -> str:
        made = cloud.call(
            "ec2",
            "create_vpc_endpoint",
            "creating EC2 VPC Endpoint",
            VpcId=inputs["vpcId"],
            ServiceName=inputs["serviceName"],
            VpcEndpointType=inputs.get("vpcEndpointType", "Gateway"),
            RouteTableIds=inputs.get("routeTableIds", []),
            TagSpecifications=tag_specifications("vpc-endpoint", inputs.get("tags")),
        )
        return str(made["VpcEndpoint"]["VpcEndpointId"])

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        gone = ["InvalidVpcEndpointId.NotFound"]
        seen = cloud.found("ec2", "describe_vpc_endpoints", gone, VpcEndpointIds=[identity])
        if seen is None or not seen["VpcEndpoints"] or seen["VpcEndpoints"][0]["State"].lower() == "deleted":
            return None
        endpoint = seen["VpcEndpoints"][0]
        return {
            "arn": f"arn:aws:ec2:{cloud.region}:{cloud.account}:vpc-endpoint/{identity}",
            "vpcId": endpoint["VpcId"],
            "state": endpoint["State"],
            "tags": tag_map(endpoint.get("Tags")),
        }

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        if old.get("routeTableIds") != new.get("routeTableIds"):
            raise CloudError("the double does not change the route tables of an endpoint")
        retag(cloud, identity, old, new)

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        cloud.call("ec2", "delete_vpc_endpoints", "deleting EC2 VPC Endpoint", VpcEndpointIds=[identity])
        settled(lambda: True if self.read(cloud, identity, state) is None else None)


def table_of(cloud: Aws, identity: str) -> Any:
    """Return a route table as the API describes it; None when there is none."""
    gone = ["InvalidRouteTableID.NotFound"]
    seen = cloud.found("ec2", "describe_route_tables", gone, RouteTableIds=[identity])
    return None if seen is None else seen["RouteTables"][0]
