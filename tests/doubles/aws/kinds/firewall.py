"""Security group and its rules; each rule is a separate resource."""

from typing import Any

from tests.doubles.aws.client import Aws, retag, tag_map, tag_specifications
from tests.doubles.provider.kind import CloudError, Kind, Rules
from tests.doubles.provider.values import Properties

GONE = ["InvalidGroup.NotFound", "InvalidGroupId.NotFound", "InvalidSecurityGroupRuleId.NotFound"]


class SecurityGroup(Kind[Aws]):
    token = "aws:ec2/securityGroup:SecurityGroup"
    rules = Rules(immutable=frozenset({"name", "namePrefix", "description", "vpcId", "region"}), autoname="name")

    def check(self, inputs: Properties) -> list[tuple[str, str]]:
        """Rules inside the group and separate rules undo each other; the double models only separate ones."""
        return [(key, "write rules as resources of their own") for key in ("ingress", "egress") if inputs.get(key)]

    def create(self, cloud: Aws, inputs: Properties) -> str:
        made = cloud.call(
            "ec2",
            "create_security_group",
            "creating Security Group",
            GroupName=inputs["name"],
            Description=inputs.get("description", "Managed by Pulumi"),
            VpcId=inputs["vpcId"],
            TagSpecifications=tag_specifications("security-group", inputs.get("tags")),
        )
        identity = str(made["GroupId"])
        # AWS allows all outbound traffic in a new group, and the plugin removes that rule.
        group = cloud.call("ec2", "describe_security_groups", "reading", GroupIds=[identity])["SecurityGroups"][0]
        rules = group["IpPermissionsEgress"]
        cloud.call("ec2", "revoke_security_group_egress", "revoking", GroupId=identity, IpPermissions=rules)
        return identity

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found("ec2", "describe_security_groups", GONE, GroupIds=[identity])
        if seen is None:
            return None
        group = seen["SecurityGroups"][0]
        return {
            "arn": f"arn:aws:ec2:{cloud.region}:{cloud.account}:security-group/{identity}",
            "name": group["GroupName"],
            "description": group["Description"],
            "vpcId": group["VpcId"],
            "ownerId": group["OwnerId"],
            "tags": tag_map(group.get("Tags")),
        }

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        retag(cloud, identity, old, new)

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        cloud.found("ec2", "delete_security_group", GONE, GroupId=identity)


class DefaultSecurityGroup(Kind[Aws]):
    """The group that comes with a network: the plugin adopts it and takes its rules away; it is never removed."""

    token = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
    rules = Rules(immutable=frozenset({"vpcId", "region"}))

    def check(self, inputs: Properties) -> list[tuple[str, str]]:
        return [(key, "the double models an empty one only") for key in ("ingress", "egress") if inputs.get(key)]

    def create(self, cloud: Aws, inputs: Properties) -> str:
        wanted = [{"Name": "vpc-id", "Values": [inputs["vpcId"]]}, {"Name": "group-name", "Values": ["default"]}]
        group = cloud.call("ec2", "describe_security_groups", "reading", Filters=wanted)["SecurityGroups"][0]
        for method, key in (
            ("revoke_security_group_ingress", "IpPermissions"),
            ("revoke_security_group_egress", "IpPermissionsEgress"),
        ):
            if group.get(key):
                cloud.call("ec2", method, "revoking", GroupId=group["GroupId"], IpPermissions=group[key])
        retag(cloud, group["GroupId"], {}, inputs)
        return str(group["GroupId"])

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found("ec2", "describe_security_groups", GONE, GroupIds=[identity])
        if seen is None:
            return None
        group = seen["SecurityGroups"][0]
        return {"vpcId": group["VpcId"], "name": group["GroupName"], "tags": tag_map(group.get("Tags"))}

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        retag(cloud, identity, old, new)

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        """Do nothing: it is removed with its network."""


class _Rule(Kind[Aws]):
    rules = Rules(immutable=frozenset({"securityGroupId", "region"}))
    direction = ""

    def create(self, cloud: Aws, inputs: Properties) -> str:
        made = cloud.call(
            "ec2",
            f"authorize_security_group_{self.direction}",
            "authorizing Security Group rule",
            GroupId=inputs["securityGroupId"],
            IpPermissions=[_permission(inputs)],
            TagSpecifications=tag_specifications("security-group-rule", inputs.get("tags")),
        )
        return str(made["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found("ec2", "describe_security_group_rules", GONE, SecurityGroupRuleIds=[identity])
        if not seen or not seen["SecurityGroupRules"]:
            return None
        rule = seen["SecurityGroupRules"][0]
        ports = {} if rule["IpProtocol"] == "-1" else {"fromPort": rule["FromPort"], "toPort": rule["ToPort"]}
        found = {
            "securityGroupRuleId": identity,
            "securityGroupId": rule["GroupId"],
            "ipProtocol": rule["IpProtocol"],
            "cidrIpv4": rule.get("CidrIpv4"),
            "cidrIpv6": rule.get("CidrIpv6"),
            "referencedSecurityGroupId": rule.get("ReferencedGroupInfo", {}).get("GroupId"),
            **ports,
        }
        return {key: value for key, value in found.items() if value is not None}

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        raise CloudError("the double changes no rule in place")

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        target = {"GroupId": state["securityGroupId"], "SecurityGroupRuleIds": [identity]}
        cloud.found("ec2", f"revoke_security_group_{self.direction}", GONE, **target)


class IngressRule(_Rule):
    token = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    direction = "ingress"


class EgressRule(_Rule):
    token = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    direction = "egress"


def _permission(inputs: Properties) -> dict[str, Any]:
    permission: dict[str, Any] = {"IpProtocol": inputs["ipProtocol"]}
    if inputs["ipProtocol"] != "-1":
        permission |= {"FromPort": inputs["fromPort"], "ToPort": inputs["toPort"]}
    if "referencedSecurityGroupId" in inputs:
        return permission | {"UserIdGroupPairs": [{"GroupId": inputs["referencedSecurityGroupId"]}]}
    if "cidrIpv6" in inputs:
        return permission | {"Ipv6Ranges": [{"CidrIpv6": inputs["cidrIpv6"]}]}
    return permission | {"IpRanges": [{"CidrIp": inputs["cidrIpv4"]}]}
