"""The kinds of resources that a stack can have on AWS, in the order in which they can be removed."""

from collections.abc import Callable, Iterator
from typing import Any

from core.errors import DeployError
from infra.clouds.aws.api.client import UntaggedError, call, pages
from infra.clouds.aws.api.tags import ID
from infra.clouds.aws.orphans.guard_duty import GUARD_DUTY_ENDPOINT, GUARD_DUTY_GROUP, delete_endpoint
from infra.clouds.aws.orphans.in_network import others_in, users_of
from infra.clouds.aws.orphans.resources import GONE_STATES, LOGS_PREFIX, owner_by_name, owner_by_tags, tag_filter
from infra.clouds.resources.denied_calls import DeniedError, MissingError
from infra.clouds.resources.kinds import CloudResource, ResourceKind
from infra.config.rules.bucket_sources import OWN_NAMES

DEAD_SPOT = ("closed", "cancelled", "failed")

OBJECTS_AT_ONCE = 1000
"""The most objects that S3 removes in one call."""


def _ec2(  # These are EC2's names for one kind; the table below stays readable.
    name: str,
    lists: str,
    key: str,
    id_key: str,
    removes: str,
    *,
    is_gone: Callable[[Any], bool] = lambda each: str(each.get("State", "")).lower() in GONE_STATES,
    before: Callable[[CloudResource], None] = lambda _resource: None,
    resource: str | None = None,
    blockers: Callable[[CloudResource], list[str]] | None = None,
) -> ResourceKind:
    """Return a kind that EC2 lists by tag and removes by id; `resource` is its resource type in DescribeTags."""

    def find(region: str, placement_id: str | None) -> Iterator[CloudResource]:
        for each in pages("ec2", region, lists, key, Filters=tag_filter(placement_id)):
            if not is_gone(each):
                owner = owner_by_tags(each.get("Tags") or each.get("TagSet") or [])
                size = float(each["Size"]) if name == "volume" else None
                yield CloudResource(name, str(each[id_key]), region, **owner, size_gib=size, detail=each)

    def remove(resource: CloudResource) -> None:
        before(resource)
        call("ec2", resource.region, removes, **{id_key: resource.id})

    otherwise = _by_tags(name, resource) if resource is not None else None
    return ResourceKind(name, find, remove, otherwise=otherwise, blockers=blockers)


def _by_tags(name: str, resource: str) -> Callable[[str, str | None], Iterator[CloudResource]]:
    """Return how to find a kind by its tags if it may not be listed; that takes another permission."""

    def find(region: str, placement_id: str | None) -> Iterator[CloudResource]:
        wanted = [{"Name": "resource-type", "Values": [resource]}, {"Name": "key", "Values": [ID]}]
        if placement_id is not None:
            wanted.append({"Name": "value", "Values": [placement_id]})
        ids = [str(each["ResourceId"]) for each in pages("ec2", region, "describe_tags", "Tags", Filters=wanted)]
        if not ids:
            return
        tags: dict[str, list[dict[str, str]]] = {identity: [] for identity in ids}
        for each in pages("ec2", region, "describe_tags", "Tags", Filters=[{"Name": "resource-id", "Values": ids}]):
            tags[str(each["ResourceId"])].append(each)
        for identity, its in tags.items():
            yield CloudResource(name, identity, region, **owner_by_tags(its))

    return find


def _tagged_instances(region: str, placement_id: str | None) -> Iterator[Any]:
    """Yield the instances, also those that were terminated within the last hour."""
    for reservation in pages("ec2", region, "describe_instances", "Reservations", Filters=tag_filter(placement_id)):
        yield from reservation["Instances"]


def _instances(region: str, placement_id: str | None) -> Iterator[CloudResource]:
    for each in _tagged_instances(region, placement_id):
        if each["State"]["Name"] != "terminated":
            yield CloudResource("instance", str(each["InstanceId"]), region, **owner_by_tags(each.get("Tags", [])))


def _spot_requests(region: str, placement_id: str | None) -> Iterator[CloudResource]:
    """Yield open spot requests: with a stack's tags, or without tags, which a stack's instance may have come from."""
    owners = {
        str(each["InstanceId"]): owner_by_tags(each.get("Tags", []))
        for each in _tagged_instances(region, placement_id)
        if each.get("InstanceLifecycle") == "spot"
    }
    filters = [tag_filter(placement_id)]
    if owners:
        filters.append([{"Name": "instance-id", "Values": list(owners)}])
    seen = set()
    for each in filters:
        for request in pages("ec2", region, "describe_spot_instance_requests", "SpotInstanceRequests", Filters=each):
            identity = str(request["SpotInstanceRequestId"])
            if request["State"] not in DEAD_SPOT and identity not in seen:
                seen.add(identity)
                owner = owners.get(str(request.get("InstanceId"))) or owner_by_tags(request.get("Tags", []))
                yield CloudResource("spot request", identity, region, **owner)


def _loosen_address(resource: CloudResource) -> None:
    if resource.detail.get("AssociationId"):
        call("ec2", resource.region, "disassociate_address", AssociationId=resource.detail["AssociationId"])


def _detach_gateway(resource: CloudResource) -> None:
    for each in resource.detail.get("Attachments", []):
        target = {"InternetGatewayId": resource.id, "VpcId": each["VpcId"]}
        call("ec2", resource.region, "detach_internet_gateway", **target)


def _loosen_table(resource: CloudResource) -> None:
    for each in resource.detail.get("Associations", []):
        if not each.get("Main"):
            call("ec2", resource.region, "disassociate_route_table", AssociationId=each["RouteTableAssociationId"])


def _named(
    name: str,
    service: str,
    lists: str,
    key: str,
    *,
    name_key: str,
    remove: Callable[[CloudResource], None],
    prefix: dict[str, str] | None = None,
    everywhere: bool = False,
    is_gone: Callable[[Any], bool] = lambda _each: False,
) -> ResourceKind:
    """Return a kind that a service lists by name."""

    def find(region: str, _placement_id: str | None) -> Iterator[CloudResource]:
        for each in pages(service, region, lists, key, **(prefix or {})):
            owner = owner_by_name(str(each[name_key]))
            if owner is not None and not is_gone(each):
                yield CloudResource(name, str(each[name_key]), region, **owner, detail=each)

    return ResourceKind(name, find, remove, everywhere)


def _remove_role(resource: CloudResource) -> None:
    for policy in pages("iam", resource.region, "list_role_policies", "PolicyNames", RoleName=resource.id):
        call("iam", resource.region, "delete_role_policy", RoleName=resource.id, PolicyName=policy)
    call("iam", resource.region, "delete_role", RoleName=resource.id)


def _remove_profile(resource: CloudResource) -> None:
    for role in resource.detail.get("Roles", []):
        target = {"InstanceProfileName": resource.id, "RoleName": role["RoleName"]}
        call("iam", resource.region, "remove_role_from_instance_profile", **target)
    call("iam", resource.region, "delete_instance_profile", InstanceProfileName=resource.id)


def _buckets(region: str, placement_id: str | None) -> Iterator[CloudResource]:
    """Yield buckets by name. A bucket that may not be read does not hide others: its error is raised at the end."""
    refused: DeniedError | None = None
    for each in pages("s3", region, "list_buckets", "Buckets", Prefix=OWN_NAMES):
        name = str(each["Name"])
        owner = owner_by_name(name)
        if owner is None or placement_id not in (None, owner["placement_id"]):
            continue
        try:
            place = str(each.get("BucketRegion") or _bucket_region(name, region))
            tags = _bucket_tags(name, place)
        except MissingError:  # deleted a moment ago and still listed
            continue
        except DeniedError as error:
            refused = error
            continue
        yield CloudResource("bucket", name, place, **(owner | {"keep": owner_by_tags(tags)["keep"]}))
    if refused is not None:
        raise refused


def _bucket_region(name: str, asked_in: str) -> str:
    """Return the region of a bucket. The call uses the region of the list: an organisation may deny all others."""
    where = call("s3", asked_in, "get_bucket_location", Bucket=name).get("LocationConstraint")
    return str(where or "us-east-1")  # S3 reports the oldest region, us-east-1, as None.


def _bucket_tags(name: str, region: str) -> list[dict[str, str]]:
    try:
        return list(call("s3", region, "get_bucket_tagging", Bucket=name)["TagSet"])
    except UntaggedError:
        return []


def _empty_bucket(resource: CloudResource) -> bool:
    """Remove as many versions as one call takes; return whether more remain."""
    seen = call("s3", resource.region, "list_object_versions", Bucket=resource.id, MaxKeys=OBJECTS_AT_ONCE)
    versions = [*seen.get("Versions", []), *seen.get("DeleteMarkers", [])]
    if versions:
        wanted = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in versions]
        request = {"Objects": wanted, "Quiet": True}
        for error in call("s3", resource.region, "delete_objects", Bucket=resource.id, Delete=request).get(
            "Errors", []
        ):
            raise DeployError(f"{error.get('Code')}: {error.get('Message')}", where=f"{resource.id}/{error.get('Key')}")
    return bool(seen["IsTruncated"])


def _budgets(region: str, _placement_id: str | None) -> Iterator[CloudResource]:
    account = call("sts", region, "get_caller_identity")["Account"]
    for each in pages("budgets", region, "describe_budgets", "Budgets", AccountId=account):
        owner = owner_by_name(str(each["BudgetName"]))
        if owner is not None:
            yield CloudResource("budget", str(each["BudgetName"]), region, **owner, detail={"AccountId": account})


def _by_name(service: str, method: str, argument: str) -> Callable[[CloudResource], None]:
    def remove(resource: CloudResource) -> None:
        call(service, resource.region, method, **{argument: resource.id})

    return remove


def _endpoints(region: str, placement_id: str | None) -> Iterator[CloudResource]:
    for each in pages("ec2", region, "describe_vpc_endpoints", "VpcEndpoints", Filters=tag_filter(placement_id)):
        if str(each.get("State", "")).lower() not in GONE_STATES:
            yield CloudResource("endpoint", str(each["VpcEndpointId"]), region, **owner_by_tags(each.get("Tags", [])))


def _cancel_request(resource: CloudResource) -> None:
    call("ec2", resource.region, "cancel_spot_instance_requests", SpotInstanceRequestIds=[resource.id])


def _terminate(resource: CloudResource) -> None:
    call("ec2", resource.region, "terminate_instances", InstanceIds=[resource.id])


def _delete_bucket(resource: CloudResource) -> None:
    call("s3", resource.region, "delete_bucket", Bucket=resource.id)


def _delete_budget(resource: CloudResource) -> None:
    account = resource.detail["AccountId"]
    call("budgets", resource.region, "delete_budget", AccountId=account, BudgetName=resource.id)


KINDS: tuple[ResourceKind, ...] = (
    _named(
        "schedule group", "scheduler", "list_schedule_groups", "ScheduleGroups", name_key="Name",
        remove=_by_name("scheduler", "delete_schedule_group", "Name"), prefix={"NamePrefix": "llm-"},
        is_gone=lambda each: each.get("State") == "DELETING",
    ),
    ResourceKind("spot request", _spot_requests, _cancel_request),
    ResourceKind("instance", _instances, _terminate, otherwise=_by_tags("instance", "instance")),
    _ec2(
        "address", "describe_addresses", "Addresses", "AllocationId", "release_address", before=_loosen_address,
        resource="elastic-ip",
    ),
    _ec2(
        "network interface", "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId",
        "delete_network_interface", resource="network-interface",
    ),
    _ec2("volume", "describe_volumes", "Volumes", "VolumeId", "delete_volume", resource="volume"),
    _ec2("key pair", "describe_key_pairs", "KeyPairs", "KeyName", "delete_key_pair"),
    _ec2(
        "security group", "describe_security_groups", "SecurityGroups", "GroupId", "delete_security_group",
        is_gone=lambda each: each["GroupName"] == "default",  # deleted with its network
        blockers=users_of,
    ),
    ResourceKind("endpoint", _endpoints, delete_endpoint),
    GUARD_DUTY_ENDPOINT,
    GUARD_DUTY_GROUP,
    _ec2("subnet", "describe_subnets", "Subnets", "SubnetId", "delete_subnet"),
    _ec2(
        "route table", "describe_route_tables", "RouteTables", "RouteTableId", "delete_route_table",
        before=_loosen_table,
    ),
    _ec2(
        "internet gateway", "describe_internet_gateways", "InternetGateways", "InternetGatewayId",
        "delete_internet_gateway", before=_detach_gateway,
    ),
    _ec2("network", "describe_vpcs", "Vpcs", "VpcId", "delete_vpc", blockers=others_in),
    _named(
        "instance profile", "iam", "list_instance_profiles", "InstanceProfiles", name_key="InstanceProfileName",
        remove=_remove_profile, everywhere=True,
    ),
    _named("role", "iam", "list_roles", "Roles", name_key="RoleName", remove=_remove_role, everywhere=True),
    _named(
        "log group", "logs", "describe_log_groups", "logGroups", name_key="logGroupName",
        remove=_by_name("logs", "delete_log_group", "logGroupName"), prefix={"logGroupNamePrefix": LOGS_PREFIX},
    ),
    ResourceKind("bucket", _buckets, _delete_bucket, everywhere=True, empty=_empty_bucket),
    ResourceKind("budget", _budgets, _delete_budget, everywhere=True),
)  # fmt: skip
