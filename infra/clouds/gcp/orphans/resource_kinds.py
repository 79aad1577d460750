"""The kinds of resources that a stack can have on GCP, in the order in which they can be removed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from infra.clouds.gcp.api.client import DisabledError, ask, everywhere, listed, pages, policy_of, rest
from infra.clouds.gcp.api.labels import ID, KEEP, STACK
from infra.clouds.gcp.api.names import ACCOUNT, owner_by_name
from infra.clouds.gcp.orphans.in_network import others_in
from infra.clouds.resources.denied_calls import MissingError
from infra.clouds.resources.kinds import CloudResource, Outcome, ResourceKind

ARGUMENTS = {
    "instances": "instance",
    "disks": "disk",
    "addresses": "address",
    "resource_policies": "resource_policy",
    "subnetworks": "subnetwork",
}
"""The argument of Compute's methods that names one resource, by client."""

OBJECTS_AT_ONCE, DELETES_AT_ONCE = 200, 8
"""How many objects of a bucket are removed between two checks of the time, and how many in parallel."""

STOPPED = ("STOPPED", "TERMINATED", "SUSPENDED")
STOPPED_NOTE = "stopped; GCP ends only running hosts, so its disks and address cost money until `up` or `down`"
"""For an instance that somebody stopped outside this project, or that powered itself off."""


def _located(name: str, client: str, key: str, scope: str) -> ResourceKind:
    """Return a kind of Compute in zones or regions, found by label or name."""
    first, *more = key.split("_")
    collection, argument = first + "".join(map(str.title, more)), ARGUMENTS[key]

    def find(project: str, _placement_id: str | None) -> Iterator[CloudResource]:
        for place, each in everywhere(client, project, key):
            owner = _owner(str(each.name), dict(getattr(each, "labels", {})))
            if owner is not None:
                size = float(each.size_gb) if name == "disk" else None
                path = f"projects/{project}/{scope}s/{place}/{collection}/{each.name}"
                detail = {"project": project, scope: place, argument: each.name}
                if name == "disk":
                    detail["users"] = _paths(each.users)
                note = STOPPED_NOTE if name == "instance" and each.status in STOPPED else ""
                yield CloudResource(name, path, place, **owner, size_gib=size, note=note, detail=detail)

    def remove(resource: CloudResource) -> Outcome | None:
        return _removal(client, {part: resource.detail[part] for part in ("project", scope, argument)}, scope)

    return ResourceKind(name, find, remove, otherwise=OTHERWISE.get(name))


def _instances_of_disks(project: str, _placement_id: str | None) -> Iterator[CloudResource]:
    """Yield the instances that use disks of stacks, by the disks' own lists, if instances may not be listed."""
    seen = set[str]()
    for zone, disk in everywhere("Disks", project, "disks"):
        owner = _owner(str(disk.name), dict(disk.labels))
        for path in _paths(disk.users) if owner is not None else ():
            if owner is not None and path not in seen:
                seen.add(path)
                detail = {"project": project, "zone": zone, "instance": path.rpartition("/")[2]}
                yield CloudResource("instance", path, zone, **(owner | {"keep": False}), detail=detail)


def _disks_of_instances(project: str, _placement_id: str | None) -> Iterator[CloudResource]:
    """Yield the disks of stacks' instances, by the instances' own lists, if disks may not be listed.

    Each disk is read by name, because only its labels say whether to keep it; that takes another permission.
    """
    for zone, instance in everywhere("Instances", project, "instances"):
        owner = _owner(str(instance.name), dict(instance.labels))
        for path in _paths(disk.source for disk in instance.disks) if owner is not None else ():
            disk = ask("Disks", "get", project=project, zone=zone, disk=path.rpartition("/")[2])
            its = _owner(str(disk.name), dict(disk.labels))
            if its is not None:
                detail = {"project": project, "zone": zone, "disk": str(disk.name), "users": _paths(disk.users)}
                yield CloudResource("disk", path, zone, **its, size_gib=float(disk.size_gb), detail=detail)


def _paths(links: Iterable[object]) -> list[str]:
    """Return links of Compute as ids, which are paths."""
    return [str(link).rpartition("/v1/")[2] for link in links if link]


OTHERWISE = {"instance": _instances_of_disks, "disk": _disks_of_instances}


def _global(
    name: str, client: str, argument: str, blockers: Callable[[CloudResource], list[str]] | None = None
) -> ResourceKind:
    """Return a kind of Compute that is global in a project, found by name."""

    def find(project: str, _placement_id: str | None) -> Iterator[CloudResource]:
        for each in listed(client, project=project):
            owner = owner_by_name(str(each.name))
            if owner is not None:
                path = f"projects/{project}/global/{argument}s/{each.name}"
                yield CloudResource(name, path, "global", **owner, detail={"project": project, argument: each.name})

    def remove(resource: CloudResource) -> Outcome | None:
        return _removal(client, resource.detail, "global")

    return ResourceKind(name, find, remove, blockers=blockers)


def _removal(client: str, wanted: Mapping[str, Any], scope: str) -> Outcome | None:
    """Ask Compute to remove a resource. Return a function that reads the result; None if it did not exist."""
    try:
        operation = ask(client, "delete", **wanted).name
    except MissingError:
        return None
    place = {key: wanted[key] for key in ("project", scope) if key in wanted}

    def failure() -> str | None:
        seen = ask(f"{scope.title()}Operations", "get", operation=operation, **place)
        return "; ".join(str(each.message) for each in seen.error.errors) or None

    return failure


def _owner(name: str, labels: dict[str, str]) -> dict[str, Any] | None:
    """Return the owner of a resource: by its labels, else by its name, which a root disk has from its host."""
    if ID in labels:
        return {"stack": labels.get(STACK, "?"), "placement_id": labels[ID], "keep": KEEP in labels}
    return owner_by_name(name)


def _roles(project: str, _placement_id: str | None) -> Iterator[CloudResource]:
    for binding in policy_of(project).get("bindings", []):
        for member in binding["members"]:
            found = ACCOUNT.fullmatch(str(member).rpartition(":")[2].partition("?")[0])
            if found:
                path = f"{project}/{binding['role']}/{member}"
                detail = {"project": project, "role": binding["role"], "member": member}
                yield CloudResource("project role", path, "global", "?", found["id"], detail=detail)


def _remove_role(resource: CloudResource) -> None:
    project, role, member = (str(resource.detail[key]) for key in ("project", "role", "member"))
    policy = dict(policy_of(project))
    for binding in policy.get("bindings", []):
        if binding["role"] == role:
            binding["members"] = [each for each in binding["members"] if each != member]
    policy["bindings"] = [binding for binding in policy.get("bindings", []) if binding["members"]]
    rest("cloudresourcemanager", "POST", f"/v3/projects/{project}:setIamPolicy", {"policy": policy})


def _accounts(project: str, _placement_id: str | None) -> Iterator[CloudResource]:
    for each in pages("iam", f"/v1/projects/{project}/serviceAccounts", "accounts"):
        found = ACCOUNT.fullmatch(each["email"])
        if found:
            shown = owner_by_name(each.get("displayName", ""))
            stack = shown["stack"] if shown else "?"
            yield CloudResource(
                "service account", each["name"], "global", stack, found["id"], detail={"project": project}
            )


def _buckets(project: str, _placement_id: str | None) -> Iterator[CloudResource]:
    for each in pages("storage", "/storage/v1/b", "items", project=project):
        owner = _owner(each["name"], each.get("labels", {}))
        if owner is not None:
            yield CloudResource("bucket", each["name"], each["location"].lower(), **owner, detail={"project": project})


def _empty_bucket(resource: CloudResource) -> bool:
    """Remove one page of versions; return whether more remain."""

    def remove(each: Any) -> None:
        path = f"/storage/v1/b/{resource.id}/o/{quote(each['name'], safe='')}"
        _gone_is_fine(lambda: rest("storage", "DELETE", path, generation=str(each["generation"])))

    limit = str(OBJECTS_AT_ONCE)
    seen = rest("storage", "GET", f"/storage/v1/b/{resource.id}/o", versions="true", maxResults=limit)
    with ThreadPoolExecutor(DELETES_AT_ONCE) as pool:
        for each in [pool.submit(remove, each) for each in seen.get("items", [])]:
            each.result()
    return "nextPageToken" in seen


def _budgets(project: str, _placement_id: str | None) -> Iterator[CloudResource]:
    """Yield budgets; nothing if the API is not enabled."""
    try:
        account = rest("cloudbilling", "GET", f"/v1/projects/{project}/billingInfo").get("billingAccountName")
        found = pages("billingbudgets", f"/v1/{account}/budgets", "budgets", counts_on=project) if account else []
    except DisabledError:
        return
    yield from _displayed("budget", found, project)


def _channels(project: str, _placement_id: str | None) -> Iterator[CloudResource]:
    """Yield the mail channels of budgets; nothing if the API is not enabled."""
    try:
        found = pages("monitoring", f"/v3/projects/{project}/notificationChannels", "notificationChannels")
    except DisabledError:
        return
    yield from _displayed("notification channel", found, project)


def _displayed(kind: str, found: list[Any], project: str) -> Iterator[CloudResource]:
    for each in found:
        owner = owner_by_name(each.get("displayName", ""))
        if owner is not None:
            yield CloudResource(kind, each["name"], "global", **owner, detail={"project": project})


def _by_path(service: str, version: str) -> Callable[[CloudResource], None]:
    def remove(resource: CloudResource) -> None:
        counts_on = str(resource.detail["project"])
        _gone_is_fine(lambda: rest(service, "DELETE", f"/{version}/{resource.id}", counts_on=counts_on))

    return remove


def _gone_is_fine(remove: Callable[[], object]) -> None:
    """Remove a resource that may no longer exist."""
    try:
        remove()
    except MissingError:
        return


KINDS: tuple[ResourceKind, ...] = (
    _located("instance", "Instances", "instances", "zone"),
    _located("disk", "Disks", "disks", "zone"),
    _located("address", "Addresses", "addresses", "region"),
    _located("schedule", "ResourcePolicies", "resource_policies", "region"),
    _global("firewall rule", "Firewalls", "firewall"),
    _located("subnet", "Subnetworks", "subnetworks", "region"),
    _global("network", "Networks", "network", blockers=others_in),
    ResourceKind("project role", _roles, _remove_role),
    ResourceKind("service account", _accounts, _by_path("iam", "v1")),
    ResourceKind("bucket", _buckets, _by_path("storage", "storage/v1/b"), empty=_empty_bucket),
    ResourceKind("budget", _budgets, _by_path("billingbudgets", "v1")),
    ResourceKind("notification channel", _channels, _by_path("monitoring", "v3")),
)
