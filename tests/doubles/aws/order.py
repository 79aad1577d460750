"""The order of removals on AWS: a resource that another one needs cannot be removed. moto removes most of them."""

from collections.abc import Callable
from typing import Any


class Refusal(Exception):  # noqa: N818  # what AWS does, not what goes wrong here
    """AWS refuses a call."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message


def refuse_deletion(account: str, region: str, action: str, values: dict[str, str]) -> None:
    """Raise Refusal if another resource still needs the one to be removed."""
    check = _CHECKS.get(action)
    if check is None:
        return
    from moto.ec2.models import ec2_backends  # after moto's environment is set

    users = check(ec2_backends[account][region], values)
    if users:
        code = "VolumeInUse" if action == "DeleteVolume" else "DependencyViolation"
        code = {"ReleaseAddress": "InvalidIPAddress.InUse", "DeleteNetworkInterface": "InvalidParameterValue"}.get(
            action, code
        )
        raise Refusal(400, code, f"{action}: still in use by {', '.join(users)}")


def _security_group(backend: Any, values: dict[str, str]) -> list[str]:
    """A group stays while an interface has it, or a rule of another group names it."""
    group = values.get("GroupId")
    interfaces = [eni.id for eni in backend.enis.values() if group in {each.id for each in eni.group_set}]
    others = [each for groups in backend.groups.values() for each in groups.values() if each.id != group]
    naming = [each.id for each in others if group in _named_by(each)]
    return [*interfaces, *naming]


def _named_by(group: Any) -> set[str | None]:
    """Return the ids of the groups that the rules of a group name."""
    return {rule.source_group.get("GroupId") for rule in (*group.ingress_rules, *group.egress_rules)}


def _subnet(backend: Any, values: dict[str, str]) -> list[str]:
    return [eni.id for eni in backend.enis.values() if eni.subnet.id == values.get("SubnetId")]


def _gateway(backend: Any, values: dict[str, str]) -> list[str]:
    """An internet gateway stays while public addresses are mapped in its network."""
    inside = {eni.id for eni in backend.enis.values() if eni.subnet.vpc_id == values.get("VpcId")}
    return [each.allocation_id for each in backend.addresses if each.eni and each.eni.id in inside]


def _vpc(backend: Any, values: dict[str, str]) -> list[str]:
    vpc = values.get("VpcId")
    groups = [each.id for each in backend.groups.get(vpc, {}).values() if each.name != "default"]
    subnets = [each.id for zone in backend.subnets.values() for each in zone.values() if each.vpc_id == vpc]
    endpoints = [each.id for each in backend.vpc_end_points.values() if each.vpc_id == vpc and each.state != "deleted"]
    return [*groups, *subnets, *endpoints]


def _volume(backend: Any, values: dict[str, str]) -> list[str]:
    volume = backend.volumes.get(values.get("VolumeId"))
    return [volume.attachment.instance.id] if volume is not None and volume.attachment else []


def _interface(backend: Any, values: dict[str, str]) -> list[str]:
    eni = backend.enis.get(values.get("NetworkInterfaceId"))
    return [eni.instance.id] if eni is not None and eni.instance is not None else []


def _address(backend: Any, values: dict[str, str]) -> list[str]:
    found = [each for each in backend.addresses if each.allocation_id == values.get("AllocationId")]
    return [found[0].eni.id] if found and found[0].eni is not None else []


_CHECKS: dict[str, Callable[[Any, dict[str, str]], list[str]]] = {
    "DeleteSecurityGroup": _security_group,
    "DeleteSubnet": _subnet,
    "DetachInternetGateway": _gateway,
    "DeleteVpc": _vpc,
    "DeleteVolume": _volume,
    "DeleteNetworkInterface": _interface,
    "ReleaseAddress": _address,
}
